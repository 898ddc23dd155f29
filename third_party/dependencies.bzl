"""What sluice is built from, pinned: for sluice's own WORKSPACE and for those of its users.

    local_repository(name = "sluice", path = "../sluice")    # or http_archive

    load("@sluice//third_party:dependencies.bzl", "sluice_dependencies")

    sluice_dependencies()

A repository that was declared before, under the same name, is kept as it is. All are lazy: Bazel fetches those that the
targets which are built really need (tests/consumer holds that to lists). With Bazel 7 and later MODULE.bazel
does the same. On a machine that reaches only Debian's packages, tools/bazel replaces each of these by the same source
from Debian (tools/debian).
"""

load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")
load("@bazel_tools//tools/build_defs/repo:utils.bzl", "maybe")

def sluice_dependencies():
    """Declares each repository that sluice's targets name, unless there is one of that name."""

    maybe(
        http_archive,
        name = "rules_cc",
        sha256 = "2037875b9a4456dce4a79d112a8ae885bbc4aad968e6587dca6e64f3a0900cdf",
        strip_prefix = "rules_cc-0.0.9",
        urls = ["https://github.com/bazelbuild/rules_cc/releases/download/0.0.9/rules_cc-0.0.9.tar.gz"],
    )

    # Abseil's BUILD files load bazel_skylib and platforms; these are the versions that its own WORKSPACE pins.
    maybe(
        http_archive,
        name = "bazel_skylib",
        sha256 = "710c2ca4b4d46250cdce2bf8f5aa76ea1f0cba514ab368f2988f70e864cfaf51",
        strip_prefix = "bazel-skylib-1.2.1",
        urls = ["https://github.com/bazelbuild/bazel-skylib/archive/refs/tags/1.2.1.tar.gz"],
    )
    maybe(
        http_archive,
        name = "platforms",
        sha256 = "a879ea428c6d56ab0ec18224f976515948822451473a80d06c2e50af0bbe5121",
        strip_prefix = "platforms-da5541f26b7de1dc8e04c075c99df5351742a4a2",
        urls = ["https://github.com/bazelbuild/platforms/archive/da5541f26b7de1dc8e04c075c99df5351742a4a2.zip"],
    )
    maybe(
        http_archive,
        name = "com_google_absl",
        sha256 = "91ac87d30cc6d79f9ab974c51874a704de9c2647c40f6932597329a282217ba8",
        strip_prefix = "abseil-cpp-20220623.1",
        urls = ["https://github.com/abseil/abseil-cpp/archive/refs/tags/20220623.1.tar.gz"],
    )

    # //tls. It makes its own warnings errors, and a compiler that is newer than it has new ones (g++ 12 with -c opt):
    # they are turned off, here and in tools/debian/prepare.sh, so that users need no flag for it.
    maybe(
        http_archive,
        name = "boringssl",
        patch_cmds = ["""sed -i.orig 's/"-Werror"/"-w"/' BUILD"""],
        sha256 = "863fc670c456f30923740c1639305132fdfb9d1b25ba385a67ae3862ef12a8af",
        strip_prefix = "boringssl-5c22014ca513807ed03c657e8ede076164663979",
        urls = ["https://github.com/google/boringssl/archive/5c22014ca513807ed03c657e8ede076164663979.zip"],
    )

    # Compressing protocols: //protocols/websocket:deflate.
    maybe(
        http_archive,
        name = "zlib",
        build_file = Label("//third_party:zlib.BUILD"),
        sha256 = "c2856951bbf30e30861ace3765595d86ba13f2cf01279d901f6c62258c57f4ff",
        strip_prefix = "zlib-1.2.13",
        urls = ["https://github.com/madler/zlib/archive/refs/tags/v1.2.13.zip"],
    )
    maybe(
        http_archive,
        name = "libdeflate",
        build_file = Label("//third_party:libdeflate.BUILD"),
        sha256 = "89e7df898c37c3427b0f39aadcf733731321a278771d20fc553f92da8d4808ac",
        strip_prefix = "libdeflate-1.14",
        urls = ["https://github.com/ebiggers/libdeflate/archive/refs/tags/v1.14.tar.gz"],
    )

    # Asking name servers: //core:resolver_cares.
    maybe(
        http_archive,
        name = "c-ares",
        build_file = Label("//third_party:c-ares.BUILD"),
        sha256 = "1a7d52a8a84a9fbffb1be9133c0f6e17217d91ea5a6fa61f6b4729cda78ebbcf",
        strip_prefix = "c-ares-1.18.1",
        urls = ["https://github.com/c-ares/c-ares/releases/download/cares-1_18_1/c-ares-1.18.1.tar.gz"],
    )

    # Tests (also a user's own, with what is testonly here) and benchmarks.
    maybe(
        http_archive,
        name = "com_google_googletest",
        sha256 = "81964fe578e9bd7c94dfdb09c8e4d6e6759e19967e397dbea48d1c10e45d0df2",
        strip_prefix = "googletest-release-1.12.1",
        urls = ["https://github.com/google/googletest/archive/refs/tags/release-1.12.1.tar.gz"],
    )
    maybe(
        http_archive,
        name = "com_github_google_benchmark",
        sha256 = "6430e4092653380d9dc4ccb45a1e2dc9259d581f4866dc0759713126056bc1d7",
        strip_prefix = "benchmark-1.7.1",
        urls = ["https://github.com/google/benchmark/archive/refs/tags/v1.7.1.tar.gz"],
    )
