"""Tests of what runs on an engine, on each that the library has under Linux."""

load("//tools/build_rules:cc.bzl", "sluice_cc_library", "sluice_cc_test")

def sluice_engine_test(name, srcs, deps, linkopts = [], **kwargs):
    """A sluice_cc_test, and NAME_io_uring, the same on the io_uring engine.

    Its loops are made by test::NewLoop() of tcp_testing, which must be in deps.
    """
    sluice_cc_library(
        name = name + "_lib",
        testonly = True,
        srcs = srcs,
        tags = kwargs.get("tags", []),
        deps = deps + ["@com_google_googletest//:gtest"],
        alwayslink = True,
    )
    sluice_cc_test(name = name, deps = [name + "_lib"], linkopts = linkopts, **kwargs)
    sluice_cc_test(
        name = name + "_io_uring",
        deps = [name + "_lib"],
        env = {"SLUICE_TEST_POLLER": "io_uring"},
        linkopts = linkopts,
        **kwargs
    )
