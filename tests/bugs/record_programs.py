# SPDX-License-Identifier: Apache-2.0
"""Records the programs of the suite, each text once, however many cases share it."""

import concurrent.futures
import hashlib
import os
import signal
import subprocess
import sys

from case import changed, source_of

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PACKAGE = os.path.join(ROOT, "recorders", "python")
SECONDS = 120


class Run:
    """One program in a folder of its own: train.py, and after it ran run.fbt and result.pt. Of the
    engine, `text` is a tuple: what follows `firstbit train`."""

    def __init__(self, folder, text, environment, arguments):
        self.folder, self.text = folder, text
        self.environment, self.arguments = environment, arguments
        self.is_engine = isinstance(text, tuple)
        self.trace = os.path.join(folder, "run.fbt")
        self.result = os.path.join(folder, "result.pt")
        self.failure = None


def twins_of(case):
    """The texts of both programs of a case."""
    if case.program.startswith("engine "):
        first = ("examples/" + case.program.split(" ", 1)[1], *case.both.split())
        return first, first + tuple(case.change.split())
    first = changed(source_of(case.program), case.both)
    return first, changed(first, case.change)


class Recordings:
    """Every program that the cases need, recorded into a folder."""

    def __init__(self, firstbit, folder, jobs, fast, reuse=False):
        self.firstbit = os.path.abspath(firstbit)
        self.folder, self.jobs, self.fast, self.reuse = os.path.abspath(folder), jobs, fast, reuse
        self.runs = {}

    def make(self, cases):
        for case in cases:
            self.pair(case)
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(self._record_all, self._chunks()))

    def pair(self, case):
        """Both runs of a case. Equal texts with equal settings are one run, unless they are the two
        sides of one case: that program is run twice."""
        texts = twins_of(case)
        sides = [(texts[i], case.environment[i], case.arguments[i]) for i in range(2)]
        return self._run(*sides[0]), self._run(*sides[1], sides[0] == sides[1])

    def _run(self, text, variable, arguments, again=False):
        what = repr((text, variable, arguments, again))
        key = hashlib.blake2b(what.encode(), digest_size=8).hexdigest()
        if key not in self.runs:
            self.runs[key] = Run(os.path.join(self.folder, key), text, variable, arguments)
        return self.runs[key]

    def _prepare(self, run):
        os.makedirs(run.folder, exist_ok=True)
        if not run.is_engine:
            with open(os.path.join(run.folder, "train.py"), "w", encoding="utf-8") as file:
                file.write(run.text)
        environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        environment.setdefault("FIRSTBIT_PYTHON", PACKAGE)
        environment.setdefault("PYTHONHASHSEED", "0")
        if run.environment[0]:
            environment[run.environment[0]] = run.environment[1]
        return environment

    def _record_one(self, run):
        command = [self.firstbit, "record", "--level", "sketch", "-o", "run.fbt", "--",
                   "/usr/bin/python3", "train.py", *run.arguments]
        if run.is_engine:
            command = [self.firstbit, "train", *run.text, "-o", run.trace]
        environment = self._prepare(run)
        process = subprocess.Popen(
            command, cwd=ROOT if run.is_engine else run.folder, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        try:
            _, said = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it forked
            process.communicate()
            run.failure = f"took more than {SECONDS} s"
            return
        if process.returncode != 0 or "firstbit:" in said:
            run.failure = said.strip()[-600:] or f"exit status {process.returncode}"

    # --- Fast: torch is imported once -------------------------------------------------------------

    def _chunks(self):
        """The runs, dealt to as many processes as there are jobs; those with settings of the
        environment, and the engine's, are processes of their own."""
        needed = [run for run in self.runs.values()
                  if not (self.reuse and os.path.exists(run.trace))]
        alone = [run for run in needed
                 if not self.fast or run.is_engine or run.environment[0] or run.arguments]
        runs = [run for run in needed if run not in alone]
        dealt = [runs[i::self.jobs] for i in range(self.jobs)]
        return [chunk for chunk in dealt if chunk] + [[run] for run in alone]

    def _record_all(self, runs):
        if len(runs) == 1:
            self._record_one(runs[0])
            return
        for run in runs:
            environment = self._prepare(run)
        environment["PYTHONPATH"] = PACKAGE
        done = subprocess.run(
            [sys.executable, os.path.join(HERE, "fork_programs.py")],
            input="\n".join(run.folder for run in runs), env=environment, capture_output=True,
            text=True, timeout=SECONDS * len(runs), check=False)
        failures = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
        for run in runs:
            run.failure = failures.get(run.folder, None if os.path.exists(run.trace)
                                       else done.stderr[-600:])
