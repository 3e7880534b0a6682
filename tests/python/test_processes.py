#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A Python program with worker processes: every command follows the links to their traces.

usage: test_processes.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest

FIRSTBIT = ""

# Two workers draw and load batches, as those of a DataLoader do; the parent trains on them.
PROGRAM = """
import multiprocessing, random, sys
import firstbit

def work(number, seed, batches, out):
    numbers = random.Random(seed)
    for step in range(1, batches + 1):
        RUN.step(step)
        indices = [numbers.randrange(1000) for _ in range(4)]
        RUN.draw(f"worker{number}", 4, counter=4 * step, consumer="sampler")
        RUN.sample("digits", indices, role="train", epoch=0)
        out.put((number, step, sum(indices)))

path, odd = sys.argv[1], int(sys.argv[2])
RUN = firstbit.Recorder(path)
fork = multiprocessing.get_context("fork")
out = fork.Queue()
workers = [fork.Process(target=work, args=(i, i + (100 if i == odd else 0), 5, out))
           for i in range(2)]
for worker in workers:
    worker.start()
batches = sorted(out.get() for _ in range(10))
for worker in workers:
    worker.join()
for step in range(1, 6):
    RUN.step()
    RUN.scalar("loss", 1.0 / step)
RUN.close()
"""


class Processes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        for name, odd in (("a", -1), ("b", -1), ("c", 1)):
            subprocess.run([sys.executable, "-c", PROGRAM, cls.at(name + ".fbt"), str(odd)],
                           check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def at(cls, name):
        return os.path.join(cls.folder.name, name)

    def firstbit(self, *words, status=0):
        done = subprocess.run([FIRSTBIT, *words], capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def test_workers_close_their_traces(self):
        report = json.loads(self.firstbit("verify", self.at("a.fbt"), "--json"))
        self.assertEqual([p["status"] for p in report["parts"]], ["complete"] * 2)

    def test_equal_workers_are_the_same_whoever_comes_first(self):
        report = json.loads(self.firstbit("diff", self.at("a.fbt"), self.at("b.fbt"), "--json"))
        self.assertEqual([p["verdict"] for p in report["parts"]], ["same"] * 2)

    def test_a_worker_of_another_seed_is_found(self):
        report = json.loads(self.firstbit("diff", self.at("a.fbt"), self.at("c.fbt"), "--json",
                                          status=1))
        self.assertRegex(report["part"], "^child[12]$")
        self.assertEqual((report["first"]["kind"], report["first"]["step"]), ("sample", 1))
        self.assertEqual(sorted(p["verdict"] for p in report["parts"]), ["differ", "same"])

    def test_show_and_export_have_the_events_of_all(self):
        shown = [json.loads(line) for line in self.firstbit("show", self.at("a.fbt"), "--json")
                 .splitlines()]
        self.assertEqual(len(shown), 5 + 2 * 10)
        self.assertEqual([e.get("process") for e in shown],
                         [None] * 5 + ["child1"] * 10 + ["child2"] * 10)
        self.assertEqual(self.firstbit("export", self.at("a.fbt"), "jsonl", "-"),
                         self.firstbit("show", self.at("a.fbt"), "--json"))
        one = self.firstbit("show", self.at("a.fbt"), "--json", "--process", "child2")
        self.assertEqual([json.loads(line) for line in one.splitlines()], shown[15:])
        text = self.firstbit("show", self.at("a.fbt"), "--step", "2", "--kind", "sample")
        self.assertEqual([line for line in text.splitlines() if line.startswith("process")],
                         ["process child1", "process child2"])
        self.firstbit("show", self.at("a.fbt"), "--process", "rank7", status=2)

    def test_a_database_numbers_events_through_all(self):
        try:
            self.firstbit("export", self.at("a.fbt"), "sqlite", self.at("a.db"))
        except AssertionError as failure:
            if "has no SQLite" in str(failure):
                self.skipTest("built without SQLite")
            raise
        db = sqlite3.connect(self.at("a.db"))
        self.addCleanup(db.close)
        rows = db.execute("SELECT role, first_event, events FROM processes ORDER BY process")
        self.assertEqual(rows.fetchall(), [("main", 0, 5), ("child1", 5, 10), ("child2", 15, 10)])
        rows = db.execute("SELECT process, count(*), count(DISTINCT step) FROM named"
                          " WHERE kind = 'sample' GROUP BY process")
        self.assertEqual(rows.fetchall(), [(1, 5, 5), (2, 5, 5)])

    def test_why_finds_what_a_worker_made(self):
        self.assertIn("digits", self.firstbit("why", self.at("a.fbt"), "digits@3"))

    def test_recover_writes_all_of_them(self):
        self.firstbit("recover", self.at("a.fbt"), "-o", self.at("r.fbt"))
        self.firstbit("diff", self.at("a.fbt"), self.at("r.fbt"))
        report = json.loads(self.firstbit("verify", self.at("r.fbt"), "--json"))
        self.assertEqual([p["events"] for p in report["parts"]], [10, 10])

    def test_a_digest_says_what_it_leaves(self):
        done = subprocess.run([FIRSTBIT, "digest", self.at("a.fbt")], capture_output=True,
                              text=True)
        self.assertIn("2 others are not in it", done.stderr)
        with open(self.at("a.lock"), "w", encoding="ascii") as file:
            file.write(done.stdout)
        self.assertIn("2 other processes", self.firstbit("diff", self.at("a.lock"),
                                                         self.at("b.fbt")))

    def test_a_packed_run_says_the_same(self):
        packed = self.at("packed.fbt")
        self.firstbit("pack", self.at("a.fbt"), "-o", packed)
        self.assertEqual(self.firstbit("show", packed, "--json"),
                         self.firstbit("show", self.at("a.fbt"), "--json"))
        self.firstbit("diff", packed, self.at("b.fbt"))
        self.firstbit("diff", packed, self.at("c.fbt"), status=1)
        self.firstbit("verify", packed + "/a.child1.fbt")
        report = json.loads(self.firstbit("verify", packed, "--json"))
        self.assertEqual([p["events"] for p in report["parts"]], [10, 10])


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
