# SPDX-License-Identifier: Apache-2.0
"""Records the programs of the suite, each text once, however many cases share it."""

import concurrent.futures
import hashlib
import os
import subprocess
import sys

from case import changed, source_of

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 120


class Run:
    """One program in a folder of its own: train.py, and after it ran run.fbt and result.pt."""

    def __init__(self, folder, text, environment):
        self.folder, self.text, self.environment = folder, text, environment
        self.trace = os.path.join(folder, "run.fbt")
        self.result = os.path.join(folder, "result.pt")
        self.failure = None


def twins_of(case):
    """The texts of both programs of a case."""
    first = changed(source_of(case.program), case.both)
    return first, changed(first, case.change)


class Recordings:
    """Every program that the cases need, recorded into a folder."""

    def __init__(self, firstbit, folder, jobs, fast):
        self.firstbit = os.path.abspath(firstbit)
        self.folder, self.jobs, self.fast = folder, jobs, fast
        self.runs = {}

    def make(self, cases):
        for case in cases:
            self.pair(case)
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(self._chunk if self.fast else self._record_one,
                          self._chunks() if self.fast else self.runs.values()))

    def pair(self, case):
        """Both runs of a case. Equal texts with equal settings are one run, unless they are the two
        sides of one case: that program is run twice."""
        texts = twins_of(case)
        first = self._run(texts[0], case.environment[0], "")
        same = texts[0] == texts[1] and case.environment[0] == case.environment[1]
        return first, self._run(texts[1], case.environment[1], "again" if same else "")

    def _run(self, text, variable, again):
        key = hashlib.blake2b(repr((text, variable, again)).encode(), digest_size=8).hexdigest()
        if key not in self.runs:
            self.runs[key] = Run(os.path.join(self.folder, key), text, variable)
        return self.runs[key]

    def _prepare(self, run):
        os.makedirs(run.folder, exist_ok=True)
        with open(os.path.join(run.folder, "train.py"), "w", encoding="utf-8") as file:
            file.write(run.text)
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        environment.setdefault("PYTHONHASHSEED", "0")
        if run.environment[0]:
            environment[run.environment[0]] = run.environment[1]
        return environment

    def _record_one(self, run):
        command = [self.firstbit, "record", "--level", "sketch", "-o", "run.fbt", "--",
                   "/usr/bin/python3", "train.py"]
        environment = self._prepare(run)
        try:
            done = subprocess.run(command, cwd=run.folder, env=environment, capture_output=True,
                                  text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            run.failure = f"took more than {SECONDS} s"
            return
        if done.returncode != 0 or "firstbit:" in done.stderr:
            run.failure = done.stderr.strip()[-600:] or f"exit status {done.returncode}"

    # --- Fast: torch is imported once -------------------------------------------------------------

    def _chunks(self):
        """The runs, dealt to as many processes as there are jobs; those with settings of the
        environment are processes of their own."""
        runs = [run for run in self.runs.values() if not run.environment[0]]
        return [runs[i::self.jobs] for i in range(self.jobs)] + [
            [run] for run in self.runs.values() if run.environment[0]]

    def _chunk(self, runs):
        if len(runs) == 1:
            self._record_one(runs[0])
            return
        for run in runs:
            environment = self._prepare(run)
        if not runs:
            return
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "fork_programs.py"), *[run.folder for run in runs]],
            env=environment, capture_output=True, text=True, timeout=SECONDS * len(runs),
            check=False)
        failures = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
        for run in runs:
            run.failure = failures.get(run.folder, None if os.path.exists(run.trace)
                                       else done.stderr[-600:])
