#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records several programs as `firstbit record` does, but imports torch once and forks for each.

usage: fork_programs.py < FOLDERS    a line for each, with a train.py; prints FOLDER<tab>FAILURE for each
that fails. Not by arguments: a recording tells them. FIRSTBIT_LEVEL: sketch, or empty for the
default.
"""

import os
import runpy
import signal
import sys
import time
import traceback

import torch  # noqa: F401  what every program imports

import firstbit.torch

SECONDS = 60


def child(folder):
    """Runs one program and ends as it ends."""
    os.setsid()  # with the processes that it forks it can be ended
    os.chdir(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["train.py"]
    sys.path[0] = folder
    sys.modules["__main__"].__file__ = "train.py"  # whose sources the recorder names
    level = os.environ.get("FIRSTBIT_LEVEL", "sketch")
    firstbit.torch.begin_by_environment(
        {"FIRSTBIT_RECORD": "run.fbt", **({"FIRSTBIT_LEVEL": level} if level else {})})
    try:
        runpy.run_path("train.py", run_name="__main__")
    finally:
        firstbit.torch._current.close()
        sys.stdout.flush()


def ended(process):
    """The status of a process, or None where it does not end in time."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return status
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return None


def failure_of(folder, status):
    if status is None:
        return f"did not end within {SECONDS} s"
    with open(os.path.join(folder, "output.txt"), encoding="utf-8") as file:
        said = file.read()
    if status == 0 and "firstbit:" not in said:
        return None
    return said.strip().replace("\n", " | ")[-600:]


def main():
    for folder in sys.stdin.read().split("\n"):
        process = os.fork()
        if process == 0:
            status = 1
            try:
                child(folder)
                status = 0
            except BaseException:  # the program's own end is what is reported
                traceback.print_exc()
            finally:
                os._exit(status)
        failure = failure_of(folder, ended(process))
        if failure is not None:
            print(folder, failure, sep="\t", flush=True)


if __name__ == "__main__":
    main()
