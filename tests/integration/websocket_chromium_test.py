"""Headless Chromium against sluice: a page that websocket_peer serves opens WebSockets to where it came from.

  websocket_chromium_test.py ws|wss plain|alone|contexts
      over what, and how messages are compressed

The page (peers/chromium_page.html) runs its cases once for all tests, and tells what came of each by requests that
websocket_peer prints. The tests look at that, and at what sluice saw of the same connections.
"""

import base64
import collections
import hashlib
import json
import os
import shutil
import sys
import urllib.parse

from chromium import Chromium
from harness import Server, TestCase, main, require
from tls_harness import chain_and_key, identity, run

SCHEME, COMPRESSION = sys.argv[1:]
ENCRYPTED = SCHEME == "wss"

Closed = collections.namedtuple("Closed", ["code", "by", "reason", "clean", "status"])

def fingerprint(name):
    """Of a certificate's key, as Chromium wants it."""
    chain, _ = chain_and_key(name)
    status, text = run(["openssl", "x509", "-in", chain, "-noout", "-pubkey"])
    if status != 0:
        raise AssertionError(text)
    key = base64.b64decode("".join(text.splitlines()[1:-1]))
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


class Page:
    """What came of one visit to the page: the cases' results or errors by their names, and what sluice told."""

    def __init__(self):
        require(shutil.which("openssl"), "openssl")
        flags = [] if COMPRESSION == "plain" else ["--deflate=" + COMPRESSION]
        flags += [identity("p256")] if ENCRYPTED else []
        self.cases = {}
        self.opened = []
        self.closed = []
        self.pongs = []
        with Server([os.environ["WEBSOCKET_PEER"], "serve", "127.0.0.1:0", "chat", f"--page={os.environ['PAGE']}",
                     *flags]) as sluice:
            url = f"{'https' if ENCRYPTED else 'http'}://{sluice.address}/"
            # Of a certificate that is not to be looked at, since the test root is not among those of the system.
            trust = [f"--ignore-certificate-errors-spki-list={fingerprint('p256')}"] if ENCRYPTED else []
            with Chromium(url, *trust):
                while "finished" not in self.cases or len(self.closed) < len(self.opened):
                    self.take(sluice.read_line())
            self.exit_status, _ = sluice.stop()

    def take(self, line):
        event, *words = line.split("\t")
        words = dict(word.split("=", 1) for word in words)
        if event == "told":
            name, self.cases[name] = json.loads(urllib.parse.unquote(words["text"]))
        elif event == "open":
            self.opened.append(words["subprotocol"])
        elif event == "pong":
            self.pongs.append(words["payload"])
        elif event == "close" and words["opened"] == "1":  # not a request, or a connection made in advance
            self.closed.append(Closed(int(words["code"]), words["by"], words["reason"], words["clean"] == "1",
                                      words["status"]))

    def closed_with(self, status):
        return [closed for closed in self.closed if status in closed.status]


class ChromiumTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.page = Page()

    def result(self, name):
        case = self.page.cases[name]
        self.assertNotIn("error", case, f"in the page, the case {name} failed")
        return case["result"]

    def assert_sluice_saw(self, *expected):
        """Connections that ended so."""
        for closed in expected:
            self.assertIn(closed, [seen[:4] for seen in self.page.closed])

    def test_the_subprotocol_is_agreed_on(self):
        self.assertEqual(self.result("opening")["protocol"], "chat")
        self.assertEqual(self.page.opened.count("chat"), 1)

    def test_compression_is_agreed_on_where_sluice_wants_it(self):
        extensions = self.result("opening")["extensions"]
        if COMPRESSION == "plain":
            self.assertEqual(extensions, "")
        else:
            self.assertEqual(extensions.split(";")[0], "permessage-deflate")
            self.assertEqual("server_no_context_takeover" in extensions, COMPRESSION == "alone")
            self.assertEqual("client_no_context_takeover" in extensions, COMPRESSION == "alone")

    def test_text_comes_back(self):
        self.assertEqual(self.result("text"), 13)

    def test_binary_of_every_length_form_comes_back(self):
        self.assertEqual(self.result("binary"), [0, 1, 125, 126, 127, 65535, 65536, 1 << 20])

    def test_a_blob_comes_back(self):
        self.assertEqual(self.result("blob"), 70000)

    def test_many_different_messages_come_back(self):
        self.assertEqual(self.result("different"), 256)

    def test_many_messages_in_flight_keep_their_order(self):
        self.assertEqual(self.result("many"), 300)

    def test_a_message_over_the_limit_is_refused_with_1009(self):
        self.assertEqual(self.result("limit"), 1009)
        self.assertEqual([closed.code for closed in self.page.closed_with("RESOURCE_EXHAUSTED")], [1009])

    def test_the_browser_answers_a_ping(self):
        self.assertEqual(self.result("ping"), "after the ping")
        self.assertEqual(self.page.pongs, ["are you there?"])

    def test_the_page_closes(self):
        # The answers have the code, and no reason.
        self.assertEqual(self.result("closing"), [{"code": code, "reason": "", "wasClean": True}
                                                  for code in (1000, 4999, 1005)])
        self.assert_sluice_saw((1000, "peer", "done", True), (4999, "peer", "bis später", True),
                               (1005, "peer", "", True))

    def test_sluice_closes(self):
        reasons = {1000: "", 1001: "going", 3000: "bis später", 4999: "x" * 123}
        self.assertEqual(self.result("closed"), [{"code": code, "reason": reason, "wasClean": True}
                                                 for code, reason in reasons.items()])
        self.assert_sluice_saw(*((code, "sluice", reason, True) for code, reason in reasons.items()))

    def test_the_page_sees_a_reset_as_an_abnormal_end(self):
        self.assertEqual(self.result("aborted"), {"code": 1006, "reason": "", "wasClean": False})
        self.assertEqual(len(self.page.closed_with("ABORTED")), 1)

    def test_the_page_sees_a_refusal_as_an_abnormal_end(self):
        self.assertEqual(self.result("refused"), {"code": 1006, "reason": "", "wasClean": False})

    def test_a_page_that_is_gone_has_gone_away(self):
        self.result("gone")
        self.assert_sluice_saw((1001, "peer", "", True))

    def test_all_else_ended_in_order(self):
        self.assertEqual(self.page.exit_status, 0)
        self.assertEqual(len(self.page.opened), len(self.page.closed))
        unclean = [closed.status for closed in self.page.closed if not closed.clean]
        self.assertEqual(len(unclean), 2, unclean)  # over the limit, and reset


if __name__ == "__main__":
    main()
