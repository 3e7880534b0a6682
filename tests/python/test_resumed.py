#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A PyTorch program that goes on from its checkpoint in another process, beside the run that was not
interrupted: with everything restored the same, else diff says what was not.

usage: test_resumed.py FIRSTBIT [unittest arguments]
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

FIRSTBIT = ""

PROGRAM = """
import sys
import torch
from torch.nn.functional import cross_entropy

begin, end, lose = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.manual_seed(1)
net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Dropout(0.1), torch.nn.Linear(16, 4))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9)
x, y = torch.randn(64, 8), torch.randint(0, 4, (64,))
if begin:
    saved = torch.load("checkpoint.pt")
    if lose == "head":
        saved["net"] = {k: v for k, v in saved["net"].items() if not k.startswith("2.bias")}
    net.load_state_dict(saved["net"], strict=False)
    if lose != "optimizer":
        optimizer.load_state_dict(saved["optimizer"])
    if lose != "schedule":
        schedule.load_state_dict(saved["schedule"])
    if lose != "generator":
        torch.set_rng_state(saved["generator"])
for step in range(begin, end):
    at = 8 * (step - begin if lose == "data" else step) % 64
    loss = cross_entropy(net(x[at:at + 8]), y[at:at + 8])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    if step == 2 and not begin:
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(), "generator": torch.get_rng_state()},
                   "checkpoint.pt")
"""


# Behind the steps whose ops are recorded: batches of a DataLoader, several epochs, buffers.
LATE = """
import sys
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

begin, end, lose = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.manual_seed(1)
data = TensorDataset(torch.randn(64, 8), torch.randint(0, 4, (64,)))
net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.1),
                          torch.nn.Linear(16, 4))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 12, 0.9)


def save(step):
    model = net.state_dict()
    if lose == "copied":
        model = {name: tensor.clone() for name, tensor in model.items()}
    torch.save({"net": model, "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(), "generator": torch.get_rng_state()},
               f"checkpoint{step}.pt")


def restore(step):
    saved = torch.load(f"checkpoint{step}.pt")
    if lose == "buffer":
        saved["net"] = {k: v for k, v in saved["net"].items() if "running" not in k}
    if lose == "head":
        saved["net"] = {k: v for k, v in saved["net"].items() if k != "3.bias"}
    net.load_state_dict(saved["net"], strict=False)
    if lose == "state":  # of another checkpoint
        optimizer.load_state_dict(torch.load(f"checkpoint{step - 8}.pt")["optimizer"])
    elif lose != "optimizer":
        optimizer.load_state_dict(saved["optimizer"])
    if lose != "schedule":
        schedule.load_state_dict(saved["schedule"])
    if lose != "generator":
        torch.set_rng_state(saved["generator"])


if begin:
    restore(begin - 8 if lose == "older" else begin)
step = begin
while step < end:
    epoch = 0 if lose == "epoch" else step // 8
    order = torch.Generator().manual_seed(epoch)
    loader = DataLoader(data, batch_size=8, shuffle=True, generator=order)
    if lose == "skipped":
        torch.set_rng_state(torch.load(f"checkpoint{begin}.pt")["generator"])
    for i, (x, y) in enumerate(loader):
        if i < step % 8 and lose != "place":
            continue
        if step >= end:
            break
        optimizer.zero_grad()
        cross_entropy(net(x), y).backward()
        optimizer.step()
        schedule.step()
        step += 1
        if step % 4 == 0:
            net.eval()
            with torch.no_grad():
                net(data.tensors[0])
            net.train()
            if not begin and lose != "unsaved":
                save(step)
"""

# Two optimizers: the second one steps behind the end of a step, and what it saves is newer.
PAIR = """
import sys
import torch

begin, end = int(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0)
make = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
judge = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))
first = torch.optim.Adam(judge.parameters(), 1e-3)
second = torch.optim.Adam(make.parameters(), 1e-3)
parts = {"make": make, "judge": judge, "first": first, "second": second}
loss = torch.nn.functional.binary_cross_entropy_with_logits
if begin:
    saved = torch.load("pair.pt")
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    torch.set_rng_state(saved["generator"])
for step in range(begin, end):
    real = torch.randn(8, 2) + 3
    fake = make(torch.randn(8, 4))
    first.zero_grad()
    (loss(judge(real), torch.ones(8, 1)) + loss(judge(fake.detach()), torch.zeros(8, 1))).backward()
    first.step()
    second.zero_grad()
    loss(judge(fake), torch.ones(8, 1)).backward()
    second.step()
    if step == 13 and not begin:
        torch.save({**{name: part.state_dict() for name, part in parts.items()},
                    "generator": torch.get_rng_state()}, "pair.pt")
"""


class Resumed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        for name, text in (("train.py", PROGRAM), ("late.py", LATE), ("pair.py", PAIR)):
            with open(os.path.join(cls.folder.name, name), "w", encoding="utf-8") as file:
                file.write(text)
        cls.record("whole.fbt", 0, 7, "nothing")
        cls.record("late.fbt", 0, 40, "nothing", program="late.py")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def record(cls, name, *arguments, program="train.py", level=()):
        subprocess.run([FIRSTBIT, "record", "-o", name, *level, "--", sys.executable, program,
                        *map(str, arguments)], cwd=cls.folder.name, check=True,
                       capture_output=True)

    def diff(self, a, b, *flags):
        done = subprocess.run([FIRSTBIT, "diff", "--json", *flags, a, b], cwd=self.folder.name,
                              capture_output=True, text=True, check=False)
        return json.loads(done.stdout)

    def test_a_run_that_brings_everything_along_is_the_same_as_the_whole(self):
        self.record("part.fbt", 3, 7, "nothing")
        for pair in (("whole.fbt", "part.fbt"), ("part.fbt", "whole.fbt")):
            report = self.diff(*pair)
            self.assertEqual(report["verdict"], "same", report)
            self.assertGreater(report["compared"]["aligned"], 100)

    def test_steps_laid_beside_each_other_by_hand_are_compared(self):
        self.record("part.fbt", 3, 7, "nothing")
        for steps in ("4:1", "6:3"):
            report = self.diff("whole.fbt", "part.fbt", "--align", steps)
            self.assertEqual(report["verdict"], "same", report)
        report = self.diff("part.fbt", "whole.fbt", "--align", "1:5")
        self.assertEqual((report["verdict"], report["cause"]["name"]),
                         ("differ", "checkpoint-resume"), report)
        self.assertEqual(report["first"]["slot"], "param")

    def test_what_a_run_has_not_brought_along_is_named(self):
        for lose, step, said in (("optimizer", 4, "the optimizer's state"),
                                 ("schedule", 5, "the learning rate"),
                                 ("generator", 4, "the random generator"),
                                 ("data", 4, "the place in the data"),
                                 ("head", 3, "a parameter")):
            with self.subTest(lose):
                self.record(lose + ".fbt", 3, 7, lose)
                for pair, who in ((("whole.fbt", lose + ".fbt"), "b goes on"),
                                  ((lose + ".fbt", "whole.fbt"), "a goes on")):
                    report = self.diff(*pair)
                    self.assertEqual(report["verdict"], "differ", report)
                    self.assertEqual(report["cause"]["name"], "checkpoint-resume")
                    self.assertIn(said + " is another one", report["cause"]["text"])
                    self.assertIn(who, report["cause"]["text"])
                    self.assertEqual(report["first"]["step"], step)

    def test_a_checkpoint_behind_the_recorded_ops_is_found_by_what_was_saved(self):
        for begin in (16, 20, 24):  # between epochs, and within
            with self.subTest(begin):
                self.record("part.fbt", begin, 40, "nothing", program="late.py")
                for pair in (("late.fbt", "part.fbt"), ("part.fbt", "late.fbt")):
                    report = self.diff(*pair)
                    self.assertEqual(report["verdict"], "same", report)
                    self.assertEqual(report["equal_through"], 41, report)
                    self.assertGreater(report["compared"]["aligned"], 100)

    def test_what_was_lost_behind_the_recorded_ops_is_named(self):
        for lose, begin, said, path in (
                ("optimizer", 16, "the optimizer's state is in that checkpoint and was not", "."),
                ("state", 16, "the optimizer's state is another one", "."),
                ("schedule", 16, "the learning rate is another one", "optimizer0"),
                ("generator", 16, "the random generator is another one", "torch"),
                ("buffer", 16, "a buffer is another one", "1.running_mean"),
                ("head", 16, "a parameter is another one", "3.bias"),
                ("older", 16, "the place in the data is another one", "TensorDataset"),
                ("epoch", 16, "the place in the data is another one", "TensorDataset"),
                ("place", 20, "the place in the data is another one", "TensorDataset")):
            with self.subTest(lose):
                self.record(lose + ".fbt", begin, 40, lose, program="late.py")
                for pair, who in ((("late.fbt", lose + ".fbt"), "b goes on"),
                                  ((lose + ".fbt", "late.fbt"), "a goes on")):
                    report = self.diff(*pair)
                    self.assertEqual(report["verdict"], "differ", report)
                    self.assertEqual(report["cause"]["name"], "checkpoint-resume")
                    self.assertIn(said, report["cause"]["text"])
                    self.assertIn(who, report["cause"]["text"])
                    self.assertIn(path, report["first"]["path"])

    def test_what_two_optimizers_save_is_found_whatever_is_recorded(self):
        for level in ((), ("--level", "ops"), ("--level", "draws")):
            with self.subTest(level):
                self.record("pair.fbt", 0, 18, program="pair.py", level=level)
                self.record("part.fbt", 14, 18, program="pair.py", level=level)
                report = self.diff("pair.fbt", "part.fbt")
                self.assertEqual(report["verdict"], "same", report)
                self.assertEqual(report["equal_through"], 19)

    def test_a_run_that_saved_none_is_found_by_where_the_generator_stands(self):
        self.record("unsaved.fbt", 0, 28, "unsaved", program="late.py")
        self.record("part.fbt", 16, 28, "nothing", program="late.py")
        self.record("other.fbt", 16, 28, "optimizer", program="late.py")
        self.assertEqual(self.diff("unsaved.fbt", "part.fbt")["verdict"], "same")
        report = self.diff("unsaved.fbt", "other.fbt")
        self.assertEqual((report["verdict"], report["cause"]["name"]),
                         ("differ", "checkpoint-resume"), report)

    def test_runs_that_go_on_from_one_checkpoint_are_not_one_behind_the_other(self):
        for lose in ("nothing", "schedule"):
            self.record(lose + "1.fbt", 16, 28, lose, program="late.py")
        self.record("again.fbt", 16, 28, "nothing", program="late.py")
        self.assertEqual(self.diff("nothing1.fbt", "again.fbt")["verdict"], "same")
        report = self.diff("nothing1.fbt", "schedule1.fbt")
        self.assertEqual((report["verdict"], report["first"]["step"] > 0), ("differ", True), report)
        self.assertNotIn("goes on from the parameters", report["cause"]["text"])

    def test_checkpoints_that_hold_copies_are_found_too(self):
        self.record("copied.fbt", 0, 28, "copied", program="late.py")
        self.record("part.fbt", 16, 28, "nothing", program="late.py")
        report = self.diff("copied.fbt", "part.fbt")
        self.assertEqual(report["verdict"], "same", report)


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
