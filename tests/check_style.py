#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fails on layout that clang-format would change, and on what it does not look at: lines of 100
columns and more, tabs, blanks at line ends, a missing licence line, two files of one name.

usage: check_style.py [--fix] [ROOT]      --fix lets clang-format change the files
"""

import os
import shutil
import subprocess
import sys

FOLDERS = ["base", "kernels", "engine", "tracer", "replay", "diff", "cli", "recorders", "include",
           "examples", "bench", "scripts", "tests", "cmake"]
C_ENDS = (".c", ".h", ".inc")
ENDS = C_ENDS + (".py", ".sh", ".cmake", ".txt")
FORMATTED = (".c", ".h")
MAY_SHARE_A_NAME = {"CMakeLists.txt", "README.md", "__init__.py"}
DATA = ("examples/data/", "tests/cli/cases/", "/golden/")
GENERATED = ("kernels/functions_tables.inc",)  # by kernels/functions_tables.py
MAX_COLUMNS = 100


def sources(root):
    for folder in FOLDERS:
        for at, folders, files in os.walk(os.path.join(root, folder)):
            folders[:] = sorted(f for f in folders if f != "__pycache__")
            for name in sorted(files):
                path = os.path.relpath(os.path.join(at, name), root)
                if name.endswith(ENDS) and not any(part in path for part in DATA):
                    yield path


def check_text(path, text, wrong):
    lines = text.split("\n")
    if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines[:3]) and not path.endswith(
            (".txt", ".cmake")):
        wrong.append(f"{path}:1: no licence line")
    if text and not text.endswith("\n"):
        wrong.append(f"{path}: no newline at the end")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS and path not in GENERATED:
            wrong.append(f"{path}:{number}: {len(line)} columns, more than {MAX_COLUMNS}")
        if line != line.rstrip():
            wrong.append(f"{path}:{number}: blank at the end of the line")
        if "\t" in line:
            wrong.append(f"{path}:{number}: tab")


def check_names(paths, wrong):
    seen = {}
    for path in paths:
        name = os.path.basename(path)
        if path.endswith(C_ENDS) and name in seen:
            wrong.append(f"{path}: has the name of {seen[name]}")
        seen.setdefault(name, path)


def check_format(root, paths, fix, wrong):
    program = shutil.which("clang-format-14") or shutil.which("clang-format")
    if program is None:
        wrong.append("clang-format is not installed (scripts/setup.sh test)")
        return
    mode = ["-i"] if fix else ["--dry-run", "--Werror"]
    done = subprocess.run([program, *mode, *paths], cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        wrong += sorted({line.split(": error")[0] + ": clang-format would change this"
                         for line in done.stderr.splitlines() if ": error" in line})


def main():
    words = [word for word in sys.argv[1:] if word != "--fix"]
    root = os.path.abspath(words[0] if words else os.path.join(os.path.dirname(__file__), ".."))
    paths, wrong = list(sources(root)), []
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8") as file:
            check_text(path, file.read(), wrong)
    check_names(paths, wrong)
    check_format(root, [p for p in paths if p.endswith(FORMATTED)], "--fix" in sys.argv, wrong)
    for line in wrong:
        print(line)
    if not paths:
        print("no sources found")
    return 1 if wrong or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
