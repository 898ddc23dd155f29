"""Headless Chromium, for tests that look at what a browser does.

  with Chromium("http://127.0.0.1:8080/"):
      ... what the page tells the server ...
"""

import os
import shutil
import tempfile

from harness import Process, require

FLAGS = [
    "--headless",
    "--no-sandbox",  # the page is our own, and the sandbox needs rights that not everyone who runs tests has
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--log-level=3",  # only what is fatal: it misses a desktop's services at length
]


class Chromium(Process):
    """With a profile of its own. All of its processes have ended when the with block has."""

    def __init__(self, url, *flags, **options):
        require(shutil.which("chromium"), "Chromium (Debian's chromium)")
        self._profile = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        # There it has Unix sockets, for which other paths are too long.
        self._temporary = tempfile.TemporaryDirectory(dir="/tmp")
        super().__init__(["env", f"HOME={self._profile.name}", f"TMPDIR={self._temporary.name}", "chromium", *FLAGS,
                          *flags, f"--user-data-dir={self._profile.name}", url], **options)

    def __exit__(self, *_):
        super().__exit__()
        self.read_rest()  # to its end, which comes when the last process that can write is gone
        self._profile.cleanup()
        self._temporary.cleanup()
