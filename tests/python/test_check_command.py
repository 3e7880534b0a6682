#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""firstbit check: what it records again, what it then says, and with what it ends.

usage: test_check_command.py FIRSTBIT [--quick] [unittest arguments]

--quick: one program that does not repeat, and wrong usage.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

FIRSTBIT = ""
QUICK = False

TRAIN = """
import sys, time
import numpy
import torch
torch.manual_seed(0)
kind = sys.argv[1]
if kind == "noisy":
    library = torch.library.Library("mine", "DEF")
    library.define("noisy(Tensor x) -> Tensor")
    library.impl("noisy", lambda x: x * (1 + 1e-3 * (time.time_ns() % 99991)), "CPU")
model = torch.nn.Sequential(torch.nn.Linear(32, 32), torch.nn.LayerNorm(32), torch.nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
if kind == "own threads":
    torch.set_num_threads(1)
for i in range(14):
    x = torch.randn(4096, 32)
    if kind == "noisy" and i == 2:
        x = torch.ops.mine.noisy(x)
    if kind == "clock" and i == 12:
        x = x + torch.from_numpy(numpy.full(32, time.time_ns() % 10**9, "float32"))
    if kind == "number" and i == 12:
        x = x + time.time_ns() % 10**6 * 1e-6
    if kind == "set":
        for name in {"red", "green", "blue", "black", "white", "grey"}:
            x = x * (1 + 1e-3 * len(name)) + 0.1 * len(name)
    optimizer.zero_grad()
    loss = model(x).pow(2).mean()
    loss.backward()
    optimizer.step()
sys.exit(3 if kind == "status" else 0)
"""


class Check(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = folder.name
        with open(os.path.join(self.at, "train.py"), "w", encoding="utf-8") as file:
            file.write(TRAIN)

    def check(self, kind, *options):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run([FIRSTBIT, "check", *options, "--", sys.executable, "train.py", kind],
                              cwd=self.at, capture_output=True, text=True, timeout=300,
                              env=environment)

    def answer(self, kind, *options):
        done = self.check(kind, "--json", *options)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual(found["verdict"] == "same", done.returncode == 0)
        return found

    def test_an_operation_that_does_not_repeat_is_named_with_its_numbers(self):
        found = self.answer("noisy")
        first, cause = found["first"], found["cause"]
        self.assertEqual((first["step"], first["op"], first["slot"]), (3, "mine.noisy", "out"))
        self.assertIn("train.py:18", first["stack_a"])
        self.assertEqual((cause["name"], cause["confidence"]), ("nondeterminism", "confirmed"))
        self.assertIn("4 different results in 4 runs", cause["text"])
        self.assertEqual(first["element"], 0)
        self.assertNotEqual(first["bits_a"], first["bits_b"])
        self.assertEqual(found["scope"]["depth"], "ops and state in steps 0-10")

    def test_wrong_usage_and_programs_that_cannot_start_are_trouble(self):
        for options in (["--vary", "threads"], ["--vary", "threads=1"], ["--vary", "speed=1,2"],
                        ["--vary", "threads=0,1"], ["--vary", "affinity=x,1"],
                        ["--vary", "affinity=0,3-1"], ["--vary", "workers=1,2,3"]):
            done = self.check("same", *options)
            self.assertEqual(done.returncode, 2, options)
            self.assertIn("--vary", done.stderr)
        done = subprocess.run([FIRSTBIT, "check", "--", "./missing"], cwd=self.at,
                              capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        done = subprocess.run([FIRSTBIT, "check", "--", "false"], cwd=self.at, capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("failed before anything was recorded: status 1", done.stderr)

    @unittest.skipIf("--quick" in sys.argv, "quick")
    def test_the_number_of_threads_is_proved_to_decide(self):
        found = self.answer("same", "--vary", "threads=1,2")
        self.assertEqual((found["cause"]["name"], found["cause"]["confidence"]),
                         ("environment", "confirmed"))
        self.assertIn("threads 1 | 2", found["cause"]["text"])
        self.assertIsNotNone(found["first"]["ulps"])

    @unittest.skipIf("--quick" in sys.argv, "quick")
    def test_what_a_program_sets_itself_is_varied_all_the_same(self):
        self.assertEqual(self.answer("own threads", "--vary", "threads=1,2")["verdict"], "differ")

    @unittest.skipIf("--quick" in sys.argv, "quick")
    def test_the_order_of_a_set_is_found_by_another_hash_seed(self):
        found = self.answer("set", "--vary", "hashseed=1,2")
        self.assertEqual(found["cause"]["confidence"], "confirmed")
        self.assertIn("hashseed 1 | 2", found["cause"]["text"])
        self.assertIn("PYTHONHASHSEED", found["cause"]["fix"])

    @unittest.skipIf("--quick" in sys.argv, "quick")
    def test_a_difference_in_a_step_without_ops_is_recorded_again_with_them(self):
        found = self.answer("clock")
        self.assertEqual((found["first"]["step"], found["first"]["slot"]), (13, "in1"))
        self.assertIn("train.py:20", found["first"]["stack_a"])
        self.assertEqual(found["cause"]["name"], "data-content")
        self.assertEqual(found["first"]["element"], 0)

    @unittest.skipIf("--quick" in sys.argv, "quick")
    def test_an_operation_is_not_blamed_for_a_number_that_it_is_called_with(self):
        found = self.answer("number")
        self.assertEqual((found["first"]["step"], found["first"]["op"]), (13, "add"))
        self.assertIn("train.py:22", found["first"]["stack_a"])
        self.assertEqual(found["cause"]["name"], "data-content")
        self.assertIn("4 different ones in 4 runs", found["cause"]["text"])
        self.assertNotIn("equal inputs", found["cause"]["text"])

    @unittest.skipIf("--quick" in sys.argv, "quick")
    def test_same_is_said_in_a_sentence_with_its_scope(self):
        done = self.check("plain", "--vary", "hashseed=1,2", "--vary", "affinity=0,0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("reproducible with hashseed 1 and 2\nSAME through"))
        self.assertIn("\n\nreproducible with affinity 0 and 0\n", done.stdout)
        self.assertIn("ops and state in steps 0-10", done.stdout)

    @unittest.skipIf("--quick" in sys.argv, "quick")
    def test_a_program_that_fails_alike_twice_is_not_called_reproducible(self):
        done = self.check("status")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("run a ended with status 3", done.stderr)
        self.assertIn("UNDECIDABLE the program ended with status 3; its runs are the same up to there",
                      " ".join(done.stdout.split()))
        self.assertNotIn("\nreproducible", "\n" + done.stdout)


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main(argv=[word for word in sys.argv if word != "--quick"])
