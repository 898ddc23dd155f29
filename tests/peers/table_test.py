"""table.py and page.py: medians, ratios, ranks; what is shown is escaped."""

import unittest
import xml.etree.ElementTree

import cells
import page
import table

NAME = "raw_64x1"  # its figures: processor, of which less is better, and rate


def rounds_of(**servers):
    """Of {server: [processor of each round]}; rates are the reverse."""
    count = len(next(iter(servers.values())))
    return {NAME: [{name: {"processor": costs[i], "rate": 1e6 / costs[i]} for name, costs in servers.items()}
                   for i in range(count)]}


def rows_of(**servers):
    return {row.figure.name: row for row in table.rows(rounds_of(**servers))}


class TableTest(unittest.TestCase):
    def test_a_ratio_is_the_median_of_those_within_each_round(self):
        row = rows_of(floor=[1, 10, 4], sluice=[1.5, 11, 8])["processor"]
        self.assertEqual(row.values, {"floor": 4, "sluice": 8})
        self.assertAlmostEqual(row.to_floor["sluice"], 1.5)

    def test_the_best_peer_is_neither_the_floor_nor_sluice(self):
        rows = rows_of(floor=[1], sluice=[2], io_uring=[1], libuv=[3], go=[4])
        for row in rows.values():
            self.assertEqual(row.best_peer, "libuv")
            self.assertEqual(row.rank, "first")

    def test_within_noise_of_the_best_is_said_so_and_behind_is_more(self):
        for cost, rank in ((2.99, "first"), (3, "first"), (3.08, "within 3 %"), (3.1, "behind")):
            for row in rows_of(sluice=[cost], libuv=[3]).values():
                self.assertEqual(row.rank, rank, f"{cost} {row.figure.name}")

    def test_without_a_peer_there_is_no_rank(self):
        for row in rows_of(floor=[1], sluice=[2]).values():
            self.assertEqual((row.best_peer, row.to_best, row.rank), (None, None, "alone"))

    def test_where_sluice_has_no_figure_it_has_failed(self):
        for row in rows_of(floor=[1], libuv=[2]).values():
            self.assertEqual((row.to_best, row.rank), (None, "failed"))

    def test_without_a_round_of_both_there_is_no_rank_but_a_peer(self):
        results = rounds_of(sluice=[2, 2], libuv=[4, 1])
        del results[NAME][0]["sluice"], results[NAME][1]["libuv"]
        row = next(table.rows(results))
        self.assertEqual((row.best_peer, row.to_best, row.rank), ("libuv", None, "incomparable"))

    def test_a_peer_that_failed_in_a_round_is_compared_in_the_others(self):
        results = rounds_of(sluice=[2, 2], libuv=[4, 1])
        del results[NAME][1]["libuv"]
        self.assertAlmostEqual(next(table.rows(results)).to_best, 0.5)


class PageTest(unittest.TestCase):
    def test_what_is_told_is_escaped_and_bars_of_any_length_are_drawn(self):
        told = {"kernel": "<kernel>", "processor": "a & b", "processors": {"servers": 0, "load": 1}, "date": "today",
                "is_quick": False, "rounds": 1, "versions": {"libuv": "<1>"}, "left_out": {"go": "x < y"},
                "failed": {"cell with <peer>": '"'}}
        text = page.page(told, rounds_of(floor=[1], sluice=[2], libuv=[100]))
        root = xml.etree.ElementTree.fromstring(text.split("\n", 1)[1])
        shown = "".join(root.itertext())
        for part in ("<kernel>", "a & b", "libuv: <1>", "go: x < y", "cell with <peer>", cells.BY_NAME[NAME].title):
            self.assertIn(part, shown)

    def test_a_cell_in_which_sluice_failed_says_so(self):
        told = {"kernel": "", "processor": "", "processors": {"servers": 0, "load": 1}, "date": "", "is_quick": True,
                "rounds": 1, "versions": {}, "left_out": {}, "failed": {}}
        self.assertIn("sluice has failed here", page.page(told, rounds_of(floor=[1], libuv=[2])))


if __name__ == "__main__":
    unittest.main(verbosity=2)
