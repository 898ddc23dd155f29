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
