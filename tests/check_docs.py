#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the commands that the documents show, and compares what they print with what is shown.

A block marked ```console holds commands after "$ " (a "\\" at the end continues one) and, below
each, its output, stdout and stderr. The blocks of one document share a folder, in which examples/
is that of the repository. Figures that a machine decides (speed, sizes, threads) may differ. Links
between files must lead somewhere.

usage: check_docs.py FIRSTBIT [--write] [DOCUMENT]...     --write puts in what is printed now
"""

import difflib
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
DOCUMENTS = ["README.md", "docs/tutorial.md"]
BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)

# What may differ between machines, and what stands for it in a comparison.
LOOSE = [
    (re.compile(r"^speed .*"), "speed"),
    (re.compile(r"[\d.]+ [kM]B"), "SIZE"),
    (re.compile(r"^recorder .*"), "recorder COST"),
    (re.compile(r"in \d+ chunks, [\d.]+ bytes an event"), "in N chunks"),
    (re.compile(r"threads \d+"), "threads N"),
    (re.compile(r"isa \w+"), "isa NAME"),
    (re.compile(r"^id  .*"), "id"),
    (re.compile(r"^stack .*"), "stack"),
]


def loosened(text):
    lines = []
    for line in text.splitlines():
        for pattern, name in LOOSE:
            line = pattern.sub(name, line)
        lines.append(line)
    return lines


def commands_of(block):
    """[(lines as shown, command, output as shown)]"""
    found, lines = [], block.splitlines()
    while lines:
        shown = [lines.pop(0)]
        if not shown[0].startswith("$ "):
            raise SystemExit(f"check_docs.py: expected a command, got: {shown[0]}")
        while shown[-1].endswith("\\"):
            shown.append(lines.pop(0))
        output = []
        while lines and not lines[0].startswith("$ "):
            output.append(lines.pop(0))
        found.append((shown, "\n".join(shown)[2:], "\n".join(output)))
    return found


def run(command, folder, firstbit):
    environment = {"PATH": os.path.dirname(firstbit) + ":/usr/bin:/bin", "HOME": folder,
                   "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
                   "PYTHONPATH": os.path.join(ROOT, "recorders", "python"),
                   "FIRSTBIT_LIBRARY": os.path.join(os.path.dirname(firstbit), "..", "tracer",
                                                    "libfirstbit_trace.so")}
    done = subprocess.run(["sh", "-c", command], cwd=folder, env=environment, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=120)
    return done.stdout.rstrip("\n")


def check(document, firstbit, write):
    """The number of commands and of those that print something else."""
    path = os.path.join(ROOT, document)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    total = wrong = 0
    with tempfile.TemporaryDirectory(prefix="firstbit-docs-") as folder:
        os.symlink(os.path.join(ROOT, "examples"), os.path.join(folder, "examples"))

        def one_block(match):
            nonlocal total, wrong
            rewritten = []
            for shown, command, expected in commands_of(match.group(1)):
                came = run(command, folder, firstbit)
                total += 1
                if loosened(came) != loosened(expected):
                    wrong += 1
                    if not write:
                        print(f"{document}: {command}")
                        print("\n".join(difflib.unified_diff(
                            loosened(expected), loosened(came), "shown", "printed", lineterm="")))
                else:
                    came = expected
                rewritten += shown + ([came] if came else [])
            return "\n".join(rewritten) + "\n"

        new = BLOCK.sub(one_block, text)
    if write and new != text:
        with open(path, "w", encoding="utf-8") as file:
            file.write(new)
    return total, wrong


def broken_links():
    """Links of all documents to files that are not there."""
    documents = ["README.md"] + sorted(
        "docs/" + name for name in os.listdir(os.path.join(ROOT, "docs")) if name.endswith(".md"))
    for document in documents:
        with open(os.path.join(ROOT, document), encoding="utf-8") as file:
            text = re.sub(r"```.*?```|`[^`]*`", "", file.read(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            path = os.path.join(ROOT, os.path.dirname(document), target)
            if "://" not in target and not os.path.exists(path):
                yield f"{document}: a link leads nowhere: {target}"


def main():
    write = "--write" in sys.argv
    words = [word for word in sys.argv[1:] if word != "--write"]
    if not words:
        print(__doc__)
        return 2
    total = wrong = 0
    for line in broken_links():
        print(line)
        total, wrong = total + 1, wrong + 1
    for document in words[1:] or DOCUMENTS:
        counts = check(document, os.path.abspath(words[0]), write)
        total, wrong = total + counts[0], wrong + counts[1]
    print(f"{total - wrong} passed, {wrong} failed")
    return 1 if total == 0 or (wrong and not write) else 0


if __name__ == "__main__":
    sys.exit(main())
