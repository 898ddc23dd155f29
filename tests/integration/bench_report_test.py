"""The page that `sluice bench --report` writes, in headless Chromium.

  bench_report_test.py light|dark      as the browser's user likes it

Each page is shown in several widths by another one (peers/report_page.html), which measures it: nothing is cut off or
overlaps, all text is large enough and stands out, pictures are described, nothing else is loaded, and the console is
silent.
"""

import http.server
import json
import os
import queue
import sys
import tempfile
import threading

from chromium import Chromium
from harness import DEADLINE, Process, Sluice, TestCase, main

SCHEME = sys.argv[1]

WIDTHS = (320, 390, 700, 1280)
HEARD = "this is heard"  # on the console, from the page that measures


class Pages:
    """A server of files in memory, and of what a page tells."""

    def __init__(self, pages):
        self.told = queue.Queue()
        told = self.told

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = pages.get(self.path.split("?")[0].lstrip("/"))
                self.answer(200 if body is not None else 404, body or b"")

            def do_POST(self):
                told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.answer(200, b"")

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/" % self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def report_of(url, *flags):
    """The page of a load."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")) as folder:
        name = os.path.join(folder, "report.html")
        with Process([os.environ["SLUICE"], "bench", url, f"--report={name}", *flags]) as bench:
            bench.read_rest()
            bench.wait()
        with open(name, "rb") as file:
            return file.read()


def reports():
    with Sluice("--protocol=websocket") as server:
        url = f"ws://{server.address}"
        pages = {
            "all": report_of(url, "--duration=2s", f"--pid={server.pid}", "--reconnect=100",
                             "--size=64:80,4KiB:15,64KiB:5", "--pipeline=8", "--threads=2"),
            "late": report_of(url, "--duration=300ms", "--rate=1000000", "--connections=1"),
            "brief": report_of(url, "--duration=1ms", "--connections=1"),
        }
    long = f"ws://{server.address}/" + "with-a-path-that-does-not-end/" * 20 + "<b>&amp;"
    pages["nobody"] = report_of(long, "--duration=100ms")
    with Sluice("--protocol=udp") as server:
        pages["udp"] = report_of(f"udp://{server.address}", "--duration=300ms", "--rate=500")
    return pages


class BenchReportTest(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.told = {}
        pages = reports()
        with open(os.environ["PAGE"], "rb") as file:
            measuring = file.read()
        with Pages({"": measuring, **pages}) as server:
            query = "&".join(f"page={page}" for page in pages)
            preferred = f"--blink-settings=preferredColorScheme={0 if SCHEME == 'dark' else 1}"
            with Chromium(f"{server.url}?{query}", preferred, "--enable-logging=stderr", "--log-level=0",
                          merge_errors=True) as chromium:
                while "finished" not in cls.told:
                    name, value = server.told.get(timeout=DEADLINE)
                    cls.told[name] = value
                chromium.terminate()
                cls.console = [line for line in chromium.read_rest() if "CONSOLE" in line]

    def shown(self, page):
        for width in WIDTHS:
            shown = self.told[f"{page} {width}"]
            self.assertNotIn("error", shown)
            yield shown

    maxDiff = None

    def test_nothing_is_wrong_with_any_page_in_any_width(self):
        for name, shown in self.told.items():
            if name != "finished":
                self.assertEqual(shown.get("problems"), [], name)

    def test_it_is_light_or_dark_as_the_reader_likes(self):
        for shown in self.shown("all"):
            if SCHEME == "dark":
                self.assertLess(shown["luminance"], 0.05)
            else:
                self.assertGreater(shown["luminance"], 0.8)

    def test_each_has_its_pictures(self):
        for page, count in (("all", 6), ("late", 4), ("udp", 4), ("nobody", 0)):
            self.assertEqual([shown["pictures"] for shown in self.shown(page)], [count] * len(WIDTHS), page)

    def test_what_went_wrong_is_told(self):
        for page, text in (("late", "The rate of 1.00 M messages/s was not reached"), ("nobody", "50 errors; the first: ")):
            for shown in self.shown(page):
                self.assertEqual(len(shown["warnings"]), 1)
                self.assertIn(text, shown["warnings"][0])

    def test_text_is_no_markup(self):
        for shown in self.shown("nobody"):
            self.assertTrue(shown["title"].endswith("/<b>&amp;"), shown["title"])

    def test_the_console_is_silent(self):
        self.assertEqual([line for line in self.console if HEARD not in line], [])
        self.assertEqual(len(self.console), 1)


if __name__ == "__main__":
    main()
