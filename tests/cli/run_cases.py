#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs command-line cases: a shell script with what it must print and return beside it.

    cases/GROUP/NAME.sh       run by `sh -u` in an empty folder of its own, firstbit on its PATH
    cases/GROUP/NAME.stdout   what it must print; absent: nothing
    cases/GROUP/NAME.stderr   the same for stderr
    cases/GROUP/NAME.exit     its exit status; absent: 0

"[...]" in an expected line stands for any text within that line. Scripts may source prelude.sh,
which lies in $CASES; $ROOT is the repository.

usage: run_cases.py FIRSTBIT [--accept] [GROUP[/NAME]]...
  --accept   write what came as what is expected (then read the difference before you commit it)
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cases")
TIMEOUT_SECONDS = 120


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def matches(expected, actual):
    pattern = "[^\n]*".join(re.escape(part) for part in expected.split("[...]"))
    return re.fullmatch(pattern, actual) is not None


def run(case, firstbit):
    """(stdout, stderr, exit status) of a case, as text."""
    folder = tempfile.mkdtemp(prefix="firstbit-case-")
    environment = {
        "PATH": os.path.dirname(firstbit) + ":/usr/bin:/bin", "HOME": folder, "LC_ALL": "C.UTF-8",
        "CASES": CASES, "ROOT": os.path.abspath(os.path.join(CASES, "../../..")),
    }
    for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
        if name in os.environ:
            environment[name] = os.environ[name]
    try:
        done = subprocess.run(["sh", "-u", case + ".sh"], cwd=folder, env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=TIMEOUT_SECONDS)
        return (done.stdout.decode("utf-8", "backslashreplace"),
                done.stderr.decode("utf-8", "backslashreplace"), f"{done.returncode}\n")
    except subprocess.TimeoutExpired:
        return "", f"no end after {TIMEOUT_SECONDS} s\n", "timeout\n"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def accept(case, came):
    for end, text, absent in zip((".stdout", ".stderr", ".exit"), came, ("", "", "0\n")):
        if text != absent and not matches(read(case + end), text):
            with open(case + end, "w", encoding="utf-8") as file:
                file.write(text)
        elif text == absent and os.path.exists(case + end):
            os.remove(case + end)


def compare(case, came):
    """Lines that say how a case differs from what is expected; none where it does not."""
    report = []
    for end, text in zip((".stdout", ".stderr", ".exit"), came):
        expected = read(case + end) or ("0\n" if end == ".exit" else "")
        if not matches(expected, text):
            report += [f"  {end[1:]}, expected:", *("    " + s for s in expected.splitlines())]
            report += ["  came:", *("    " + s for s in text.splitlines())]
    return report


def select(words):
    cases = []
    for at, _, files in os.walk(CASES):
        for name in files:
            case = os.path.join(at, name)[:-3]
            if name.endswith(".sh") and at != CASES:
                cases.append(case)
    if not words:
        return sorted(cases)
    starts = tuple(os.path.join(CASES, word.rstrip("/")) + "/" for word in words)
    return [case for case in sorted(cases) if (case + "/").startswith(starts)]


def main():
    words = [word for word in sys.argv[1:] if word != "--accept"]
    if not words:
        print(__doc__)
        return 2
    firstbit, cases, failed = os.path.abspath(words[0]), select(words[1:]), 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for case, came in zip(cases, pool.map(lambda case: run(case, firstbit), cases)):
            if "--accept" in sys.argv:
                accept(case, came)
                continue
            report = compare(case, came)
            failed += bool(report)
            print(f"{'FAILED' if report else 'ok':6} {os.path.relpath(case, CASES)}")
            if report:
                print("\n".join(report))
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
