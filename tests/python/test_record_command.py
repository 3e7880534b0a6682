#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""firstbit record and firstbit check, on programs that know nothing of them.

usage: test_record_command.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

FIRSTBIT = ""

TRAIN = """
import os, sys, time
assert not [name for name in os.environ if name.startswith("FIRSTBIT_REC")], "the hook shows"
assert not any("_startup" in path for path in sys.path), "the hook shows"
import torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for i in range(3):
    if sys.argv[1] == "time" and i == 1:
        torch.manual_seed(time.time_ns() % 2**40)
    x = torch.randn(8, 4)
    optimizer.zero_grad()
    loss = model(x).pow(2).mean()
    loss.backward()
    optimizer.step()
print(loss.item())
print("to stderr", file=sys.stderr)
if sys.argv[1] == "status":
    sys.exit(7)
if sys.argv[1] == "raise":
    raise KeyError("own")
if sys.argv[1] == "wait":
    open("ready", "w").close()
    time.sleep(60)
if sys.argv[1] == "child":
    import subprocess
    subprocess.run([sys.executable, "-c", "import torch; torch.nn.Linear(1, 1)(torch.ones(1))"],
                   check=True)
"""


class Command(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = folder.name
        self.write("train.py", TRAIN)

    def write(self, name, text):
        with open(os.path.join(self.at, name), "w", encoding="utf-8") as file:
            file.write(text)

    def run_in(self, *arguments, **more):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(arguments, cwd=self.at, capture_output=True, text=True, timeout=300,
                              env=environment, **more)

    def record(self, word, trace="a.fbt", *options):
        return self.run_in(FIRSTBIT, "record", "-o", trace, *options, "--", sys.executable,
                           "train.py", word)

    def plain(self, word):
        return self.run_in(sys.executable, "train.py", word)

    def info(self, trace):
        return json.loads(self.run_in(FIRSTBIT, "info", "--json", trace).stdout)

    def test_output_and_exit_status_are_the_programs(self):
        for word, status in (("status", 7), ("raise", 1), ("child", 0)):
            with self.subTest(word):
                done, plain = self.record(word), self.plain(word)
                self.assertEqual((done.returncode, done.stdout, done.stderr),
                                 (plain.returncode, plain.stdout, plain.stderr))
                self.assertEqual(done.returncode, status)
                self.assertEqual(self.info("a.fbt")["status"], "complete")
                self.assertEqual([f for f in os.listdir(self.at) if "child" in f], [])

    def test_signals_reach_the_program_and_end_us_as_it(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number):
                child = subprocess.Popen(
                    [FIRSTBIT, "record", "-o", "a.fbt", "--", sys.executable, "train.py", "wait"],
                    cwd=self.at, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=True)
                ready = os.path.join(self.at, "ready")
                while not os.path.exists(ready):
                    self.assertIsNone(child.poll())
                    time.sleep(0.05)
                os.remove(ready)
                if number == signal.SIGINT:  # as a terminal does: to everybody
                    os.killpg(child.pid, number)
                else:
                    child.send_signal(number)
                self.assertEqual(child.wait(timeout=60), -number)
                # Python ends by itself after Ctrl-C; SIGTERM tears the trace, and nothing is lost.
                found = self.info("a.fbt")
                self.assertEqual(found["status"], "complete" if number == signal.SIGINT else "torn")
                self.assertGreater(found["events"], 100)

    def test_programs_that_it_starts_record_beside_it(self):
        self.write("start.py", """
import os, subprocess, sys
import torch
torch.manual_seed(0)
TRAIN = [sys.executable, "train.py"]
subprocess.run([sys.executable, "-c", "print(1)"], check=True)
subprocess.run(TRAIN + ["same"], check=True)
subprocess.run(TRAIN + [sys.argv[1]], env=dict(os.environ), check=True)
""")
        for trace, word in (("a.fbt", "same"), ("b.fbt", "time")):
            done = self.run_in(FIRSTBIT, "record", "-o", trace, "--", sys.executable, "start.py",
                               word)
            self.assertEqual((done.returncode, done.stdout.count("\n")), (0, 3), done.stderr)
        # PyTorch itself may start some before, as it is imported (ldconfig): they have numbers too.
        parts = sorted(f.split(".")[1] for f in os.listdir(self.at)
                       if f.startswith("a.") and f != "a.fbt")
        numbers = [int(part[len("process"):]) for part in parts]
        self.assertEqual(numbers, [numbers[0], numbers[0] + 1])
        self.assertGreater(numbers[0], 1)  # the one that imports no PyTorch has none
        self.assertEqual(len(self.info("a.fbt")["parts"]), 2)
        done = self.run_in(FIRSTBIT, "diff", "a.fbt", "b.fbt")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{parts[0]}: same; {parts[1]}: differs", done.stdout)

    def test_the_processes_of_a_launcher_that_does_nothing_else_speak_for_it(self):
        self.write("launch.py", """
import subprocess, sys, torch
subprocess.run([sys.executable, "train.py", sys.argv[1]], check=True)
""")
        for trace, word in (("a.fbt", "same"), ("b.fbt", "same"), ("c.fbt", "time")):
            self.run_in(FIRSTBIT, "record", "-o", trace, "--", sys.executable, "launch.py", word)
        self.assertEqual(self.info("a.fbt")["events"], 0)
        done = self.run_in(FIRSTBIT, "diff", "a.fbt", "b.fbt")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.run_in(FIRSTBIT, "diff", "a.fbt", "c.fbt").returncode, 1)

    def test_ranks_and_others_are_recorded_whatever_starts_them(self):
        self.write("launch.py", """
import os, subprocess, sys
started = [subprocess.Popen([sys.executable, "train.py", "same"],
                            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2"})
           for rank in range(2)]
sys.exit(max(process.wait() for process in started))
""")
        python = [sys.executable, "train.py", "same"]
        shell = "RANK=1 {0} & RANK=0 {0}; wait".format(" ".join(python))
        plain = "{0} & {0}; wait".format(" ".join(python))
        for name, words, parts in (
                ("python", [sys.executable, "launch.py"], ["rank0", "rank1"]),
                ("ranks", ["sh", "-c", shell], ["rank0", "rank1"]),
                ("plain", ["sh", "-c", plain], ["also2"])):
            with self.subTest(name):
                done = self.run_in(FIRSTBIT, "record", "-o", name + ".fbt", "--", *words)
                self.assertEqual((done.returncode, done.stdout.count("\n")), (0, 2), done.stderr)
                self.assertNotIn("nothing recorded", done.stderr)
                found = self.info(name + ".fbt")
                self.assertEqual([part["role"] for part in found["parts"]], parts)
                self.assertEqual([part["status"] for part in found["parts"]],
                                 ["complete"] * len(parts))
                self.assertEqual(found["events"] > 0, name == "plain")
        self.assertEqual(self.info("python.fbt")["environment"]["argv"][1:], ["launch.py"])
        # Whoever starts them: they are the same ranks.
        done = self.run_in(FIRSTBIT, "diff", "--json", "python.fbt", "ranks.fbt")
        found = json.loads(done.stdout)
        self.assertEqual([(p["role"], p["verdict"]) for p in found["parts"]],
                         [("rank0", "same"), ("rank1", "same")])

    def test_what_a_process_recorded_before_it_became_another_program_is_kept(self):
        self.write("again.py", """
try:
    import os
    os.execv("missing", ["missing"])
except OSError:
    pass
""" + TRAIN.replace("print(loss.item())", "print(loss.item(), flush=True)") + """
if sys.argv[2:]:
    os.execvp("env", ["env", sys.executable, "again.py", *sys.argv[2:]])
""")
        for trace, words in (("a.fbt", ["same", "same"]), ("b.fbt", ["same", "same"]),
                             ("c.fbt", ["same", "time"]), ("d.fbt", ["time", "same"])):
            done = self.run_in(FIRSTBIT, "record", "-o", trace, "--", sys.executable, "again.py",
                               *words)
            self.assertEqual((done.returncode, done.stdout.count("\n")), (0, 2), done.stderr)
            found = self.info(trace)
            self.assertEqual([(part["role"], part["status"]) for part in found["parts"]],
                             [("exec1", "complete")])
            self.assertEqual((found["status"], found["steps"]), ("complete", 4))
        for trace, status, said in (("b.fbt", 0, "SAME"), ("c.fbt", 1, "exec1: differs"),
                                    ("d.fbt", 1, "exec1: same")):
            done = self.run_in(FIRSTBIT, "diff", "a.fbt", trace)
            self.assertEqual(done.returncode, status, done.stdout)
            self.assertIn(said, done.stdout)

    def test_what_cannot_be_recorded_is_said(self):
        done = self.run_in(FIRSTBIT, "record", "--", "true")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("nothing recorded", done.stderr)
        done = self.run_in(FIRSTBIT, "record", "--", "./missing")
        self.assertEqual((done.returncode, done.stderr),
                         (125, "firstbit record: ./missing: No such file or directory\n"))
        for wrong in (["--level", "all"], ["--ops-steps", "1:x"]):
            done = self.run_in(FIRSTBIT, "record", *wrong, "--", "true")
            self.assertEqual(done.returncode, 2)
            self.assertIn(wrong[0], done.stderr)

    def test_a_trace_that_cannot_be_written_is_said_before_the_program_runs(self):
        os.mkdir(os.path.join(self.at, "folder"))
        os.mkfifo(os.path.join(self.at, "pipe"))
        for output, why in (("missing/a.fbt", "No such file or directory"),
                            ("folder", "Is a directory"), ("pipe", "not a regular file")):
            done = self.run_in(FIRSTBIT, "record", "-o", output, "--", "touch", "ran")
            self.assertEqual((done.returncode, done.stderr),
                             (125, f"firstbit record: {output}: {why}\n"))
        self.assertEqual(sorted(os.listdir(self.at)), ["folder", "pipe", "train.py"])

    def test_check_says_same_or_where_not(self):
        done = self.run_in(FIRSTBIT, "check", "--json", "--", sys.executable, "train.py", "same")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["verdict"], "same")
        done = self.run_in(FIRSTBIT, "check", "--json", "--", sys.executable, "train.py", "time")
        self.assertEqual(done.returncode, 1, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual((found["first"]["step"], found["first"]["kind"]), (2, "seed"))
        self.assertIn("train.py:11", found["first"]["stack_a"] or "")

    def test_a_program_that_records_itself_follows_a_depth_that_is_asked_for(self):
        self.write("own.py", TRAIN.replace("for i in", """
import firstbit.torch
run = firstbit.torch.record("own.fbt", model=model, optimizer=optimizer)
for i in"""))
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        prefix = ["env", "PYTHONPATH=" + os.path.join(package, "recorders", "python")]
        self.run_in(*prefix, FIRSTBIT, "record", "-o", "a.fbt", "--level", "values", "--at", "2",
                    "--path", "0", "--", sys.executable, "own.py", "same")
        self.assertFalse(os.path.exists(os.path.join(self.at, "own.fbt")))
        shown = self.run_in(FIRSTBIT, "show", "--json", "a.fbt")
        kept = [e for e in map(json.loads, shown.stdout.splitlines()) if e.get("contents")]
        self.assertEqual({(e["step"], e["path"]) for e in kept}, {(2, "0")})

    def test_contents_are_kept_where_asked_for(self):
        self.record("same", "a.fbt", "--level", "values", "--at", "2", "--path", "Sequential.0")
        shown = self.run_in(FIRSTBIT, "show", "--json", "a.fbt")
        kept = [e for e in map(json.loads, shown.stdout.splitlines()) if e.get("contents")]
        self.assertEqual({(e["step"], e["path"]) for e in kept}, {(2, "Sequential.0")})


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
