"""A fuzz target of a codec, in one line."""

load("//tools/build_rules:cc.bzl", "sluice_cc_fuzz_test")

# Labels, so that they are sluice's own targets in every workspace.
_TESTING = str(Label("//protocols/codec:codec_testing"))

_SOURCE = """// Made by codec_fuzz_test.
#include <cstddef>
#include <cstdint>

#include "{header}"
#include "sluice/protocols/codec/codec_testing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {{
  static const auto* const codec = new auto({codec});
  return sluice::codec_testing::Fuzz(*codec, data, size);
}}
"""

def codec_fuzz_test(name, codec, header, corpus, deps, **kwargs):
    """A fuzz target that feeds a codec, whole and in pieces, and an ordinary test that runs its corpus.

    What is checked is sluice::codec_testing::Fuzz: the messages do not depend on how the bytes were cut, a message that was decoded,
    encoded and decoded again is the same, and all that AddressSanitizer sees. The first byte of an input is the size of
    the pieces, less one; the rest are the bytes.

    With --config=fuzz it is a libFuzzer binary that starts from the corpus; tests/consumer/own_codec/.bazelrc has what
    makes that of a project of one's own.

    Args:
      name: of the test.
      codec: a codec as it is before it has decoded anything, in C++: "chat::ChatCodec(512)". Small limits find more.
      header: what declares it, as it is included: "chat/chat_codec.h".
      corpus: files, one at least. An input that once found a bug belongs here.
      deps: the codec's target.
      **kwargs: as in cc_test.
    """
    source = name + "_source.cc"
    native.genrule(
        name = name + "_source",
        testonly = True,
        outs = [source],
        cmd = "cat >$@ <<'END_OF_SOURCE'\n" + _SOURCE.format(codec = codec, header = header).replace("$", "$$") + "END_OF_SOURCE",
    )
    sluice_cc_fuzz_test(
        name = name,
        srcs = [source],
        corpus = corpus,
        deps = deps + [_TESTING],
        **kwargs
    )
