#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What processes of a recorded program are called, however they are started. Needs no PyTorch.

usage: test_started_programs.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import os
import subprocess
import sys
import tempfile
import unittest

PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                       "recorders", "python")

# A program that starts others in many ways. Each prints what it was told of the recording; the
# start-up hook, which would take that out again, is not there.
PROGRAM = """
import importlib.util, multiprocessing, os, sys, threading
spec = importlib.util.spec_from_file_location("follow", sys.argv[1] + "/firstbit/_follow.py")
follow = importlib.util.module_from_spec(spec)
spec.loader.exec_module(follow)
family = follow.Family({"FIRSTBIT_RECORD": "run.fbt", "FIRSTBIT_FAMILY": sys.argv[2]}, "hook")
for module in follow.STARTERS.values():
    module(family)
follow.follow_os(family)
import subprocess

SAY = ("import os; told = [os.environ.get(name) for name in ('WHAT', 'FIRSTBIT_ROLE', 'PYTHONPATH')];"
       "os.write(1, '{} {} {}'.format(*told).encode() + bytes([10]))")
WORDS = [sys.executable, "-c", SAY]

def env(what, **more):
    return {**os.environ, "WHAT": what, **more}

os.environ["WHAT"] = "inherited"
subprocess.run(WORDS, check=True)
subprocess.run(WORDS, env=env("given", PYTHONPATH="own"), check=True)
subprocess.Popen(WORDS, -1, None, None, None, None, None, True, False, None,
                 env("placed")).wait()
subprocess.run(WORDS, env={os.fsencode(k): os.fsencode(v) for k, v in env("bytes").items()},
               check=True)
subprocess.run(WORDS, env=env("spawned by posix"), close_fds=False, check=True)
os.environ["WHAT"] = "system"
os.system(f"'{sys.executable}' -c \\"{SAY}\\"")
os.waitpid(os.posix_spawn(sys.executable, WORDS, env("posix_spawn")), 0)
os.spawnve(os.P_WAIT, sys.executable, WORDS, env("spawnve"))

def in_child():
    subprocess.run(WORDS, env=env("child of a child"), check=True)

child = multiprocessing.get_context("fork").Process(target=in_child)
child.start()
child.join()

def racing(what, barrier):
    barrier.wait()
    subprocess.run(WORDS + [what], env=env("thread " + what), check=True)

barrier = threading.Barrier(2)
threads = [threading.Thread(target=racing, args=(what, barrier))
           for what in sys.argv[3].split(",")]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os.environ["WHAT"] = "last"
assert "FIRSTBIT_ROLE" not in os.environ
os.execv(sys.executable, WORDS)
"""


class Started(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at = folder.name

    def names(self, order):
        """By what was started: the name that it was given."""
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run([sys.executable, "-c", PROGRAM, PACKAGE, self.at, order], env=clean,
                              capture_output=True, text=True, check=True, timeout=60)
        self.assertEqual(done.stderr, "")
        lines = [line.rsplit(" ", 2) for line in done.stdout.splitlines()]
        self.assertTrue(all(path.startswith("hook") for _, _, path in lines), lines)
        self.assertEqual([path for what, _, path in lines if what == "given"], ["hook:own"])
        return {what: role for what, role, _ in lines}

    def test_every_way_to_start_a_process_names_it_in_the_parent(self):
        names = self.names("one,two")
        threads = [names.pop("thread one"), names.pop("thread two")]
        self.assertEqual(names, {
            "inherited": "process1", "given": "process2", "placed": "process3",
            "bytes": "process4", "spawned by posix": "process5", "system": "process6",
            "posix_spawn": "process7", "spawnve": "fork1", "child of a child": "fork2.process1",
            "last": "None"})
        self.assertEqual(len(set(threads)), 2)

    def test_what_threads_start_has_one_name_in_whatever_order_they_come(self):
        one, two = self.names("one,two"), self.names("two,one")
        self.assertEqual(one, two)


class Claims(unittest.TestCase):
    """Processes that were all told the same."""

    PROGRAM = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("follow", sys.argv[1] + "/firstbit/_follow.py")
follow = importlib.util.module_from_spec(spec)
spec.loader.exec_module(follow)
family = follow.Family({"FIRSTBIT_RECORD": "run.fbt", "FIRSTBIT_FAMILY": sys.argv[2],
                        "FIRSTBIT_RANK": "RANK=7"}, "hook")
print("ready", flush=True)
if sys.stdin.readline():
    family.claim()
    print(family.path(), flush=True)
    sys.stdin.readline()
"""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.at, self.running = folder.name, []
        self.addCleanup(self.end)

    def end(self):
        for process in self.running:
            process.stdin.close()
            process.wait(timeout=60)
            process.stdout.close()
        self.running.clear()

    def begin(self, **more):
        process = subprocess.Popen([sys.executable, "-c", self.PROGRAM, PACKAGE, self.at],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env={**os.environ, **more})
        self.running.append(process)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def claim(self, process):
        process.stdin.write("go\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    def test_the_first_that_starts_has_the_name_whoever_records_first(self):
        first, second, third = self.begin(), self.begin(), self.begin()
        self.assertEqual([self.claim(p) for p in (third, first, second)],
                         ["run.also3.fbt", "run.fbt", "run.also2.fbt"])

    def test_what_ended_without_a_recording_has_no_name(self):
        self.begin()
        self.end()
        process = self.begin()
        self.assertEqual(self.claim(process), "run.fbt")
        self.end()  # it has recorded
        self.assertEqual(self.claim(self.begin()), "run.also2.fbt")

    def test_ranks_are_named_by_their_rank_but_for_one_that_was_there_before(self):
        self.assertEqual(self.claim(self.begin(RANK="1")), "run.rank1.fbt")
        self.assertEqual(self.claim(self.begin(RANK="0")), "run.rank0.fbt")
        self.assertEqual(self.claim(self.begin(RANK="7")), "run.fbt")
        self.end()
        self.assertEqual(self.claim(self.begin(RANK="1")), "run.rank1.also2.fbt")
        self.assertEqual(self.claim(self.begin(OMPI_COMM_WORLD_RANK="3")), "run.rank3.fbt")

    def test_a_process_that_becomes_another_program_leaves_its_name_to_what_it_recorded(self):
        program = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("follow", sys.argv[1] + "/firstbit/_follow.py")
follow = importlib.util.module_from_spec(spec)
spec.loader.exec_module(follow)
told = {name: value for name, value in os.environ.items() if name.startswith("FIRSTBIT_")}
for name in told:
    del os.environ[name]
family = follow.Family({"FIRSTBIT_RECORD": "run.fbt", "FIRSTBIT_FAMILY": sys.argv[2], **told},
                       "hook")
follow.follow_os(family)
left = sys.argv[3:]
if left and left[0] == "record":
    family.claim()
    print(family.path(), flush=True)
    family.before_exec = lambda: print("complete", flush=True)
os.environ["PATH"] = os.pathsep.join([sys.argv[2], os.environ["PATH"]])  # no such program there
if left:
    os.execvp("env", ["env", sys.executable, "-c", sys.orig_argv[2], *sys.argv[1:3], *left[1:]])
"""

        def files(*words):
            done = subprocess.run([sys.executable, "-c", program, PACKAGE, self.at, *words],
                                  capture_output=True, text=True, check=True, timeout=60)
            self.assertEqual(done.stderr, "")
            return done.stdout.split()

        self.assertEqual(files("nothing", "record", "nothing", "record", "record"),
                         ["run.fbt", "complete", "run.exec1.fbt", "complete", "run.exec2.fbt",
                          "complete"])
        self.assertEqual(files("record", "record"), ["run.also2.fbt", "complete",
                                                     "run.also2.exec1.fbt", "complete"])


if __name__ == "__main__":
    sys.argv.pop(1)
    unittest.main()
