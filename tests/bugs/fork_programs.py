#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records several programs as `firstbit record` does, but imports torch once and forks for each.

usage: fork_programs.py FOLDER...    each with a train.py; a line FOLDER<tab>FAILURE for each that fails
"""

import os
import runpy
import sys

import torch  # noqa: F401  what every program imports

import firstbit.torch


def child(folder):
    """Never returns: the program ends this process as it ends its own."""
    os.chdir(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["train.py"]
    sys.path[0] = folder
    firstbit.torch.begin_by_environment({"FIRSTBIT_RECORD": "run.fbt", "FIRSTBIT_LEVEL": "sketch"})
    try:
        runpy.run_path("train.py", run_name="__main__")
    finally:
        firstbit.torch._current.close()
        sys.stdout.flush()


def main():
    for folder in sys.argv[1:]:
        process = os.fork()
        if process == 0:
            status = 1
            try:
                child(folder)
                status = 0
            finally:
                if status:
                    import traceback
                    traceback.print_exc()
                    sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(process, 0)
        with open(os.path.join(folder, "output.txt"), encoding="utf-8") as file:
            said = file.read()
        if status != 0 or "firstbit:" in said:
            print(folder, said.strip().replace("\n", " | ")[-600:], sep="\t", flush=True)


if __name__ == "__main__":
    main()
