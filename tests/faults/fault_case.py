# SPDX-License-Identifier: Apache-2.0
"""fault_case.py - what the fault scripts share: a folder of their own, a run that takes
milliseconds, firstbit as a subprocess, and a count of what held.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

CONFIG = {
    "seed": 1,
    "data": {"text": "input.txt", "context": 8},
    "model": [
        {"name": "embedding", "embedding": {"dim": 8, "positions": True}},
        {"repeat": 2, "name": "h", "layers": [
            {"name": "mlp", "residual": [
                {"layernorm": {}}, {"name": "fc", "linear": {"out": 16}}, {"gelu": {}},
                {"name": "proj", "linear": {"out": 8}}, {"dropout": {"p": 0.25}}]}]},
        {"layernorm": {}},
        {"name": "head", "linear": {"out": "vocab", "bias": False, "tied": "embedding"}}],
    "loss": "cross_entropy",
    "optimizer": {"adamw": {"lr": 0.01}},
    "clip": 1.0,
    "batch": {"size": 4, "micro": 2},
    "steps": 6,
}
LEVELS = ("steps", "draws", "ops", "sketch", "values")


class Failure(Exception):
    pass


def expect(holds, *what):
    if not holds:
        raise Failure(" ".join(str(w) for w in what))


class Folder:
    """A temporary folder with run.json and its data, in memory where that can be."""

    def __init__(self, **changes):
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.path = tempfile.mkdtemp(prefix="fb-faults-", dir=base)
        with open(self / "input.txt", "w") as f:
            for i in range(40):
                f.write(f"line {i}: the quick brown fox counts to {i * i} and jumps\n")
        with open(self / "run.json", "w") as f:
            json.dump({**CONFIG, **changes}, f)

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["chmod", "-R", "u+rwX", self.path], check=False)
        shutil.rmtree(self.path, ignore_errors=True)

    def files(self):
        return sorted(os.listdir(self.path))


class Result:
    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def lines(self):
        return self.err.decode(errors="replace").splitlines()

    def __str__(self):
        return f"exit {self.status}, stderr {self.err[:400]!r}"


def run(command, cwd, env=None, preexec=None, limit=120):
    """Runs a command to its end. A death by signal is a failure of every test."""
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, timeout=limit,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, preexec_fn=preexec, check=False)
    result = Result(done)
    expect(result.status >= 0, command, "died of signal", -result.status, result)
    return result


def final_hash(result):
    found = re.search(rb'"final_hash":"([0-9a-f]{32})"', result.out)
    return found.group(1) if found else None


def events_of(program, trace, cwd):
    """The events as verify counts them, and the trace's status."""
    found = json.loads(run([program, "verify", trace, "--json"], cwd).out)
    return found["events"], found["status"]


def main(tests):
    """Runs the tests, prints a line each."""
    failed = 0
    for test in tests:
        try:
            print(f"ok      {test.__name__}: {test()}", flush=True)
        except Failure as failure:
            failed += 1
            print(f"FAILED  {test.__name__}: {failure}", flush=True)
    sys.exit(1 if failed else 0)
