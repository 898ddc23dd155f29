#!/usr/bin/env python3
"""That the checks pass what is right and fail what is wrong."""

import unittest

import build_graph
import layering
import public_targets
import source_style
from build_graph import Target

XML = """<?xml version="1.1" encoding="UTF-8" standalone="no"?>
<query version="2">
  <rule class="cc_library" location="core/BUILD:1:1" name="//core:buffer">
    <list name="visibility"><label value="//visibility:public"/></list>
    <list name="deps"><label value="@com_google_absl//absl/types:span"/></list>
    <rule-input name="//core:buffer.h"/>
    <rule-input name="@com_google_absl//absl/types:span"/>
  </rule>
  <rule class="cc_library" location="core/BUILD:9:1" name="//core:fake">
    <boolean name="testonly" value="true"/>
    <list name="visibility"><label value="//core:__subpackages__"/></list>
  </rule>
  <rule class="cc_test" location="core/BUILD:20:1" name="//core:buffer_test"/>
</query>
"""


def graph_of(edges, testonly=(), public=()):
    """A graph from {"//core:a": ["//core:b"]}."""
    return {
        label: Target(label=label, kind="cc_library", testonly=label in testonly, public=label in public, inputs=inputs)
        for label, inputs in edges.items()
    }


class BuildGraphTest(unittest.TestCase):
    def test_reads_what_bazel_writes(self):
        graph = build_graph.read(XML)
        self.assertEqual(graph["//core:buffer"].inputs, ["//core:buffer.h", "@com_google_absl//absl/types:span"])
        self.assertTrue(graph["//core:buffer"].public)
        self.assertFalse(graph["//core:buffer"].testonly)
        self.assertFalse(graph["//core:fake"].public)
        self.assertTrue(graph["//core:fake"].testonly)
        self.assertTrue(graph["//core:buffer_test"].testonly)

    def test_takes_labels_apart(self):
        self.assertEqual(build_graph.repository("@com_google_absl//absl/types:span"), "com_google_absl")
        self.assertEqual(build_graph.repository("//core:buffer"), "")
        self.assertEqual(build_graph.package("//core/internal:x"), "core/internal")
        self.assertEqual(build_graph.package("//:x"), "")


class LayeringTest(unittest.TestCase):
    GOOD = {
        "//core:buffer": ["//core:buffer.h", "@com_google_absl//absl/types:span", "@platforms//os:linux"],
        "//core:timer": [],
        "//core:internal_part": ["//core:buffer"],
        "//core:poller": ["//core:internal_part"],
        "//core:event_loop": ["//core:poller", "//core:timer"],
        "//core:tcp": ["//core:event_loop"],
        "//core:resolver_cares": ["//core:event_loop", "//core/internal:cares_channel"],
        "//core/internal:cares_channel": ["@c-ares//:ares"],
        "//tls:tls": ["//core:tcp", "@boringssl//:ssl"],
        "//protocols/codec:codec": ["//core:buffer"],
        "//protocols/framing:framing": ["//protocols/codec:codec", "//core:tcp", "//protocols/framing/internal:varint"],
        "//protocols/framing/internal:varint": [],
        "//protocols/websocket:websocket": ["//protocols/codec:codec"],
        "//protocols/websocket:deflate": ["@zlib//:zlib", "@libdeflate//:libdeflate"],
        "//protocols/usp:zlib_frame_codec": ["//protocols/codec:codec", "@zlib//:zlib"],
        "//protocols/usp:legacy_crypto": ["@boringssl//:crypto"],
        "//tools:sluice": ["//tls:tls", "//protocols/websocket:websocket", "@something//:else"],
        "//tests:peer_test": ["//tools:sluice", "//core:tcp"],
    }

    def errors_with(self, label, to, testonly=()):
        edges = {key: list(inputs) for key, inputs in self.GOOD.items()}
        edges.setdefault(label, []).append(to)
        return layering.errors(graph_of(edges, testonly))

    def assert_forbidden(self, label, to, why, testonly=()):
        found = self.errors_with(label, to, testonly)
        self.assertEqual(len([error for error in found if why in error]), 1, found)

    def test_passes_the_design(self):
        self.assertEqual(layering.errors(graph_of(self.GOOD)), [])

    def test_core_knows_no_layer_above(self):
        self.assert_forbidden("//core:tcp", "//tls:tls", "core does not know tls")
        self.assert_forbidden("//core:tcp", "//protocols/codec:codec", "core does not know protocols")
        self.assert_forbidden("//core:tcp", "//tools:sluice", "core does not know tools")

    def test_core_uses_only_abseil(self):
        self.assert_forbidden("//core:tcp", "@boringssl//:ssl", "core does not use @boringssl")
        self.assert_forbidden("//core:tcp", "@zlib//:zlib", "core does not use @zlib")
        self.assert_forbidden("//core:system_resolver", "@c-ares//:ares", "core does not use @c-ares")

    def test_only_its_resolver_reaches_c_ares(self):
        self.assert_forbidden("//core:system_resolver", "//core/internal:cares_channel", "reaches c-ares")

    def test_only_tests_use_googletest(self):
        gtest = "@com_google_googletest//:gtest"
        self.assert_forbidden("//core:tcp", gtest, "core does not use @com_google_googletest")
        self.assertEqual(self.errors_with("//core:tcp_test", gtest, testonly=["//core:tcp_test"]), [])

    def test_tests_keep_to_their_layer_too(self):
        self.assert_forbidden("//core:t", "//protocols/codec:codec", "core does not know protocols", testonly=["//core:t"])

    def test_protocols_never_know_tls(self):
        self.assert_forbidden("//protocols/framing:framing", "//tls:tls", "protocols does not know tls")
        self.assert_forbidden("//protocols/codec:codec", "@boringssl//:ssl", "protocols does not use @boringssl")

    def test_only_who_is_there_for_it_compresses(self):
        self.assert_forbidden("//protocols/websocket:websocket", "@zlib//:zlib", "protocols does not use @zlib")

    def test_only_what_is_called_insecure_encrypts_in_a_protocol(self):
        self.assert_forbidden("//protocols/usp:connection", "@boringssl//:crypto", "protocols does not use @boringssl")
        self.assert_forbidden("//protocols/usp:zlib_frame_codec", "@boringssl//:crypto",
                              "protocols does not use @boringssl")
        self.assert_forbidden("//protocols/usp:legacy_crypto", "@zlib//:zlib", "protocols does not use @zlib")

    def test_nothing_but_tests_names_what_is_insecure(self):
        legacy = "//protocols/usp:legacy_crypto"
        for label in ("//protocols/usp:connection", "//tools:sluice"):
            self.assert_forbidden(label, legacy, "it is insecure")
        self.assertEqual(self.errors_with("//protocols/usp:t", legacy, testonly=["//protocols/usp:t"]), [])
        self.assertEqual(self.errors_with("//tests:peer_test", legacy), [])

    def test_protocols_never_know_one_another(self):
        self.assert_forbidden("//protocols/websocket:websocket", "//protocols/framing:framing",
                              "a protocol does not know another one")
        self.assert_forbidden("//protocols/websocket:websocket", "//protocols/framing/internal:varint",
                              "a protocol does not know another one")
        self.assert_forbidden("//protocols/codec:codec", "//protocols/framing:framing",
                              "a protocol does not know another one")

    def test_a_command_line_brings_no_protocol_and_no_tls(self):
        why = "a command line has the protocols that its main names"
        self.assertEqual(self.errors_with("//tools:sluice_main", "//protocols/codec:codec"), [])
        self.assert_forbidden("//tools:codec_protocol", "//protocols/websocket:websocket", why)
        for label in ("//tools:codec_protocol", "//tools:sluice_main"):
            for to in ("//tls:tls", "//protocols/websocket:deflate"):
                self.assertIn(f"{label} reaches {to}: {why}", self.errors_with(label, to))

    def test_tls_knows_no_protocol(self):
        self.assert_forbidden("//tls:tls", "//protocols/codec:codec", "tls does not know protocols")

    def test_nothing_depends_on_tests(self):
        for label in ("//core:buffer", "//tls:tls", "//protocols/codec:codec", "//tools:sluice"):
            self.assert_forbidden(label, "//tests:peer_test", "does not know tests")

    def test_buffer_and_timer_know_nothing_of_sockets(self):
        self.assert_forbidden("//core:buffer", "//core:poller", "buffer does not know poller")
        self.assert_forbidden("//core:timer", "//core:tcp", "timer does not know tcp")

    def test_poller_does_not_know_the_loop_or_timers(self):
        self.assert_forbidden("//core:poller", "//core:timer", "poller does not know timer")
        self.assert_forbidden("//core:poller", "//core:event_loop", "poller does not know event_loop")

    def test_a_detour_through_a_part_is_seen(self):
        self.assert_forbidden("//core:internal_part", "//core:timer", "poller does not know timer")

    def test_the_loop_does_not_know_tcp(self):
        self.assert_forbidden("//core:event_loop", "//core:tcp", "event_loop does not know tcp")


class PublicTargetsTest(unittest.TestCase):
    GRAPH = graph_of({"//core:buffer": [], "//core:part": []}, public=["//core:buffer"])

    def test_passes_the_golden_list(self):
        self.assertEqual(public_targets.difference("# comment\n//core:buffer\n", self.GRAPH), [])

    def test_names_a_new_public_target(self):
        self.assertEqual(public_targets.difference("", self.GRAPH),
                         ["//core:buffer is public, but is not in public_targets.golden"])

    def test_names_a_public_target_that_is_gone(self):
        self.assertEqual(public_targets.difference("//core:buffer\n//core:tcp\n", self.GRAPH),
                         ["//core:tcp is in public_targets.golden, but is not public"])


    def test_packages_begin_private(self):
        self.assertTrue(public_targets.default_is_private('package(default_visibility = ["//visibility:private"])'))
        self.assertTrue(public_targets.default_is_private('package(\n    default_visibility = ["//core:__subpackages__"],\n)'))
        self.assertFalse(public_targets.default_is_private('package(default_visibility = ["//visibility:public"])'))
        self.assertFalse(public_targets.default_is_private('cc_library(name = "x")'))


class SourceStyleTest(unittest.TestCase):
    def assert_error(self, path, line, why):
        found = list(source_style.errors(path, line + "\n"))
        self.assertEqual(len(found), 1, found)
        self.assertIn(why, found[0])

    def assert_fine(self, path, text):
        self.assertEqual(list(source_style.errors(path, text)), [])

    def test_tests_do_not_sleep(self):
        self.assert_error("core/a_test.cc", "  absl::SleepFor(absl::Milliseconds(1));", "sleeps")
        self.assert_error("tests/a.cc", "  std::this_thread::sleep_for(1ms);", "sleeps")
        self.assert_error("tests/peers/a.py", "    time.sleep(1)", "sleeps")
        self.assert_error("core/a_test.cc", "  usleep(5);", "sleeps")
        self.assert_fine("tools/bench.cc", "  absl::SleepFor(absl::Seconds(1));\n")

    def test_tests_read_no_clock(self):
        self.assert_error("core/a_test.cc", "  auto start = absl::Now();", "reads a clock")
        self.assert_error("core/a_test.cc", "  std::chrono::steady_clock::now();", "reads a clock")

    def test_tests_have_no_fixed_ports(self):
        self.assert_error("core/a_test.cc", '  Listen("127.0.0.1:9000");', "fixed port")
        self.assert_error("core/a_test.cc", '  Listen("[::1]:80");', "fixed port")
        self.assert_error("core/a_test.cc", "  address.sin_port = htons(9000);", "fixed port")
        self.assert_fine("core/a_test.cc", '  Listen("127.0.0.1:0");\n')
        self.assert_fine("core/a_test.cc", '  EXPECT_EQ(Parse("127.0.0.1:80").port(), 80);\n')

    def test_a_reason_excuses_a_line(self):
        self.assert_fine("core/a_test.cc", '  Parse("127.0.0.1:80");  // source_style: parsed, never opened\n')
        self.assert_fine("core/a_test.cc", '  // source_style: parsed, never opened\n  Parse("127.0.0.1:80");\n')

    def test_includes_are_those_of_a_user(self):
        self.assert_error("core/a.cc", '#include "core/a.h"', "sluice/")
        self.assert_fine("core/a.cc", '#include "sluice/core/a.h"\n')

    def test_no_paths_of_a_machine(self):
        for folder in ("home", "Users", "root", "work"):
            self.assert_error("README.md", f"see /{folder}/somebody/notes", "somebody's machine")
        self.assert_fine("README.md", "see docs/home/page and https://example.com/home/page\n")

    def test_header_guards_name_the_path(self):
        self.assert_error("core/a.h", "#ifndef A_H", "SLUICE_CORE_A_H_")
        self.assert_fine("core/a.h", "#ifndef SLUICE_CORE_A_H_\n")
        self.assert_fine("tests/consumer/chat/a.h", "#ifndef CHAT_A_H_\n")


if __name__ == "__main__":
    unittest.main()
