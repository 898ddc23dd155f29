"""tests/peers/compare --quick: every cell has figures, and sluice makes the fewest system calls, which are counted and do
not depend on time.

  compare_test.py COMPARE      in the folder of sluice's binaries (tools/sluice and so on)
"""

import json
import os
import subprocess
import sys
import unittest
import xml.etree.ElementTree

import cells

# Together less than Bazel gives the test, so that what was said until then is seen: all cells, with all peers to be built;
# and one cell.
DEADLINE, BRIEF = 480, 120
NEEDED = {"strace": "/usr/bin/strace", "libssl-dev": "/usr/include/openssl/ssl.h", "zlib1g-dev": "/usr/include/zlib.h"}
# Of 1600 messages in bursts of 16: what may happen now and then. One more call for each burst would be six times as many.
ONCE = 16 / 1600


FOLDER = os.environ["TEST_TMPDIR"]
TOLD, PAGE = os.path.join(FOLDER, "compare.json"), os.path.join(FOLDER, "compare.html")


def run(*options, deadline=BRIEF, environment=None):
    """compare, which ends with this process."""
    command = ["setpriv", "--pdeathsig", "KILL", sys.argv[1], *options]
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=deadline, check=False,
                              env={**os.environ, **(environment or {})})
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode(errors="replace")
        raise AssertionError(f"has not ended in {deadline} s, but said:\n{said}") from None


def compare(*options, **how):
    return run("--quick", "--no_install", "--binaries=.", f"--build_folder={FOLDER}/built", f"--json={TOLD}",
               f"--page={PAGE}", *options, **how)


def read_results():
    """What it measured, and the page."""
    with open(TOLD, encoding="utf-8") as told, open(PAGE, encoding="utf-8") as page:
        return json.load(told), page.read()


def require_libraries():
    missing = [package for package, path in NEEDED.items() if not os.path.exists(path)]
    if missing and not os.environ.get("CI"):
        print(f"SKIPPED: {' '.join(missing)} is missing")
        raise unittest.SkipTest(f"{' '.join(missing)} is missing")


class CompareTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        require_libraries()
        done = compare(deadline=DEADLINE)
        cls.table = done.stdout.decode()
        print(done.stderr.decode(), cls.table)
        if done.returncode != 0:
            raise AssertionError(f"exit status {done.returncode}")
        cls.told, cls.page = read_results()
        cls.cells = {cell["name"]: cell["rounds"] for cell in cls.told["cells"]}

    def test_every_cell_has_figures_of_sluice_and_of_another(self):
        for cell in cells.CELLS:
            with self.subTest(cell.name):
                (servers,) = self.cells[cell.name]
                self.assertIn("sluice", servers)
                if not self.told["left_out"]:
                    self.assertGreater(len(servers), 1)
                for name, values in servers.items():
                    self.assertEqual([figure.name for figure in cell.figures], list(values), name)
                    if cell.kind != "memory":
                        self.assertGreater(min(values.values()), 0, name)

    def test_table_and_page_name_every_cell(self):
        text = "".join(xml.etree.ElementTree.fromstring(self.page.split("\n", 1)[1]).itertext())
        for cell in cells.CELLS:
            self.assertIn(cell.title, self.table)
            self.assertIn(cell.title, text)

    def test_system_calls_are_the_fewest(self):
        for name in ("calls_raw", "calls_frame", "calls_websocket"):
            (servers,) = self.cells[name]
            for peer, values in servers.items():
                with self.subTest(cell=name, peer=peer):
                    self.assertLessEqual(servers["sluice"]["calls"], values["calls"] + ONCE)

    def test_a_burst_costs_a_wait_a_receive_and_a_send(self):
        for name in ("calls_raw", "calls_frame", "calls_websocket"):
            (servers,) = self.cells[name]
            self.assertLessEqual(servers["sluice"]["calls"], 3 / 16 + ONCE)


class LeftOutTest(unittest.TestCase):
    setUpClass = classmethod(lambda cls: require_libraries())

    def test_a_peer_that_cannot_be_built_is_left_out_with_the_reason_and_fails_in_ci(self):
        for ci, status in (("", 0), ("true", 1)):
            done = compare("--cells=raw_64x1", "--peers=go", environment={"CI": ci, "GOROOT": "/nonexistent"})
            self.assertIn("LEFT OUT: go: ", done.stderr.decode())
            self.assertEqual(done.returncode, status)
            told, page = read_results()
            self.assertEqual(["go"], list(told["left_out"]))
            self.assertIn("<li>go: ", page)
            self.assertEqual({"floor", "sluice"}, set(told["cells"][0]["rounds"][0]))


class OptionsTest(unittest.TestCase):
    def refused(self, option):
        done = run(option)
        self.assertEqual(done.returncode, 2)
        return done.stderr.decode()

    def test_what_is_not_there_is_named_with_what_is(self):
        for option, accepted in (("--cells=soap", "raw_64x1"), ("--peers=soap", "libuv")):
            told = self.refused(option)
            self.assertIn("soap", told)
            self.assertIn(accepted, told)

    def test_no_name_is_refused(self):
        for option in ("--cells=", "--cells=,", "--peers=libuv,"):
            self.assertIn("there is no name that is empty", self.refused(option))

    def test_a_folder_without_binaries_is_refused(self):
        done = compare(f"--binaries={FOLDER}")
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no program tools/sluice", done.stderr.decode())

    def test_no_time_is_refused(self):
        self.assertIn("--minutes=0", self.refused("--minutes=0"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
