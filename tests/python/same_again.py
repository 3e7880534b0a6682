#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How often programs.py, recorded again under other allocator histories and hash seeds, is the same.

usage: same_again.py FIRSTBIT [ROUNDS]      20 rounds unless told; a line for each program
"""

import json
import os
import subprocess
import sys
import tempfile

import programs

HERE = os.path.dirname(os.path.abspath(__file__))
# glibc's settings: from where memory is mapped, what fresh memory holds, how many arenas.
HISTORIES = [{}, {"MALLOC_PERTURB_": "85"}, {"MALLOC_MMAP_THRESHOLD_": "4096"},
             {"MALLOC_ARENA_MAX": "1", "MALLOC_PERTURB_": "170"},
             {"MALLOC_TOP_PAD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1"}]


def record(folder, seed, history):
    os.makedirs(folder)
    subprocess.run([sys.executable, os.path.join(HERE, "programs.py"), folder], check=True,
                   stdout=subprocess.DEVNULL, timeout=300,
                   env={**os.environ, **history, "PYTHONHASHSEED": str(seed)})


def main():
    firstbit, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    names = [program.__name__ for program in programs.PROGRAMS]
    same = dict.fromkeys(names, 0)
    with tempfile.TemporaryDirectory() as folder:
        first = os.path.join(folder, "0")
        record(first, 0, {})
        for i in range(1, rounds + 1):
            again = os.path.join(folder, str(i))
            record(again, i, HISTORIES[i % len(HISTORIES)])
            for name in names:
                done = subprocess.run([firstbit, "diff", "--json", f"{first}/{name}.fbt",
                                       f"{again}/{name}.fbt"], capture_output=True, text=True)
                found = json.loads(done.stdout)
                same[name] += found["verdict"] == "same" and not found["notes"]
    for name in names:
        print(f"{name:14}{same[name]} of {rounds} the same")
    print(f"{'all':14}{sum(same.values())} of {rounds * len(names)} the same")
    return 0 if sum(same.values()) == rounds * len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
