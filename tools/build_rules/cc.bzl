"""cc_library, cc_test, cc_binary and benchmarks with what all sluice targets share.

What they add to the rules of rules_cc, and nothing else:
  * the warnings of copts.bzl;
  * the include path: //core's buffer.h is included as "sluice/core/buffer.h", here and in every other workspace;
  * layering_check and parse_headers, where the toolchain has them (--config=clang has the first, g++ neither).
All other attributes mean what they mean in cc_library and its kin.
"""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")
load("//tools/build_rules:copts.bzl", "SLUICE_COPTS")

_FEATURES = [
    "layering_check",
    "parse_headers",
]

_GTEST = [
    "@com_google_googletest//:gtest",
    "@com_google_googletest//:gtest_main",
]

_BENCHMARK = [
    "@com_github_google_benchmark//:benchmark",
    "@com_github_google_benchmark//:benchmark_main",
]

# A Label, so that it is sluice's own target in every workspace.
_FUZZING = str(Label("//tools/build_rules:fuzzing"))

def _plus(deps, more):
    return deps + [dep for dep in more if dep not in deps]

def sluice_cc_library(name, copts = [], features = [], **kwargs):
    cc_library(
        name = name,
        copts = SLUICE_COPTS + copts,
        features = _FEATURES + features,
        include_prefix = "sluice",
        strip_include_prefix = "/",
        **kwargs
    )

def sluice_cc_binary(name, copts = [], features = [], **kwargs):
    cc_binary(
        name = name,
        copts = SLUICE_COPTS + copts,
        features = _FEATURES + features,
        **kwargs
    )

def sluice_cc_test(name, size = "small", copts = [], features = [], deps = [], **kwargs):
    """A GoogleTest test. It has gtest and gtest_main; deps name what else its file includes."""
    cc_test(
        name = name,
        size = size,
        copts = SLUICE_COPTS + copts,
        features = _FEATURES + features,
        deps = _plus(deps, _GTEST),
        **kwargs
    )

def sluice_cc_benchmark(name, srcs, deps = [], tags = [], copts = [], features = [], **kwargs):
    """A Google Benchmark binary (with benchmark_main) and a test, NAME_smoke_test, that runs each benchmark briefly.

    Measure with: tools/bazel run -c opt //core:buffer_benchmark
    """
    cc_library(
        name = name + "_lib",
        testonly = True,
        srcs = srcs,
        copts = SLUICE_COPTS + copts,
        features = _FEATURES + features,
        tags = tags,
        visibility = ["//visibility:private"],
        deps = _plus(deps, _BENCHMARK),
        alwayslink = True,
    )
    cc_binary(
        name = name,
        testonly = True,
        tags = tags + ["benchmark"],
        deps = [":" + name + "_lib"],
        **kwargs
    )
    cc_test(
        name = name + "_smoke_test",
        size = "small",
        args = ["--benchmark_min_time=0.001"],
        tags = tags + ["benchmark"],
        deps = [":" + name + "_lib"],
    )

def sluice_cc_fuzz_test(name, srcs, corpus, deps = [], tags = [], copts = [], features = [], **kwargs):
    """A fuzz target: srcs define LLVMFuzzerTestOneInput.

    It is an ordinary test that runs each file of the corpus once; with --config=fuzz (.bazelrc) the same target is a
    libFuzzer binary that starts from the corpus. An input that once found a bug belongs into the corpus.
    """
    files = ["$(location %s)" % file for file in corpus]
    cc_test(
        name = name,
        size = "small",
        srcs = srcs,
        copts = SLUICE_COPTS + copts,
        features = _FEATURES + features,
        data = corpus,
        args = select({
            _FUZZING: [
                "-max_total_time=10",
                "-timeout=5",
                "-seed_inputs=" + ",".join(files),
            ],
            "//conditions:default": files,
        }),
        linkopts = select({
            _FUZZING: ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        linkstatic = True,
        tags = tags + ["fuzz"],
        deps = deps + select({
            _FUZZING: [],
            "//conditions:default": [str(Label("//tools/build_rules:fuzz_replay"))],
        }),
        **kwargs
    )
