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

DEADLINE = 600
NEEDED = {"strace": "/usr/bin/strace", "libssl-dev": "/usr/include/openssl/ssl.h", "zlib1g-dev": "/usr/include/zlib.h"}
# Of 1600 messages: what happens once, as when strace comes while the server waits.
ONCE = 8 / 1600


def run_compare():
    """What it measured, and the page."""
    folder = os.environ["TEST_TMPDIR"]
    told, page = os.path.join(folder, "compare.json"), os.path.join(folder, "compare.html")
    done = subprocess.run([sys.argv[1], "--quick", "--no_install", "--binaries=.", f"--build_folder={folder}/built",
                           f"--json={told}", f"--page={page}"], stdout=subprocess.PIPE, timeout=DEADLINE, check=False)
    print(done.stdout.decode())
    if done.returncode != 0:
        raise AssertionError(f"exit status {done.returncode}")
    with open(told, encoding="utf-8") as file, open(page, encoding="utf-8") as text:
        return json.load(file), text.read(), done.stdout.decode()


class CompareTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        missing = [package for package, path in NEEDED.items() if not os.path.exists(path)]
        if missing and not os.environ.get("CI"):
            print(f"SKIPPED: {' '.join(missing)} is missing")
            raise unittest.SkipTest(f"{' '.join(missing)} is missing")
        cls.told, cls.page, cls.table = run_compare()
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


class OptionsTest(unittest.TestCase):
    def refused(self, option):
        done = subprocess.run([sys.argv[1], option], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE,
                              check=False)
        self.assertEqual(done.returncode, 2)
        return done.stderr.decode()

    def test_what_is_not_there_is_named_with_what_is(self):
        for option, accepted in (("--cells=soap", "raw_64x1"), ("--peers=soap", "libuv")):
            told = self.refused(option)
            self.assertIn("soap", told)
            self.assertIn(accepted, told)

    def test_no_time_is_refused(self):
        self.assertIn("--minutes=0", self.refused("--minutes=0"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
