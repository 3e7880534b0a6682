#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The fifth set of docs/bugs.md: programs and bugs by somebody who had not read the rules.

usage: blind_set.py FIRSTBIT [--folder FOLDER] [PROGRAM...]

Records each program of blind/ at the default level, and each of its changes; compares, prints what
was missed and counts. Recordings are kept in FOLDER, where one is given, and used again.

In NAME.cases a bug begins with `== bug ID: CAUSE...`, the causes that are right; `late` are those
that act behind the steps whose operations are recorded. `line:` names by a part of them lines that
are as right as those of the change, `event:` where it may part (a regular expression). The change
itself is as in case.py.
"""

import argparse
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Dict, List

from case import changed

HERE = os.path.dirname(os.path.abspath(__file__))
BLIND = os.path.join(HERE, "blind")
PACKAGE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "recorders", "python")


@dataclass
class Case:
    """kind: "bug", "late bug" or "clean"; causes: by their names in docs/diff.md."""

    kind: str
    id: str
    causes: List[str]
    lines: List[str] = field(default_factory=list)
    event: str = ""
    change: str = ""


def cases_of(program: str) -> List[Case]:
    with open(os.path.join(BLIND, program + ".cases"), encoding="utf-8") as file:
        parts = re.split(r"^== ", file.read(), flags=re.MULTILINE)[1:]
    found = []
    for part in parts:
        head, rest = part.split("\n", 1)
        kind, name, causes = re.match(r"((?:late )?bug|clean) ([^:]+):?(.*)", head).groups()
        case = Case(kind, name, causes.split())
        while rest.startswith(("# ", "line: ", "event: ")):
            told, rest = rest.split("\n", 1)
            if told.startswith("line: "):
                case.lines.append(told[len("line: "):])
            elif told.startswith("event: "):
                case.event = told[len("event: "):]
        case.change = rest.rstrip("\n")
        found.append(case)
    return found


def source_of(program: str) -> str:
    with open(os.path.join(BLIND, f"blind_{program}.py"), encoding="utf-8") as file:
        return file.read()


def record(folder: str, texts: Dict[str, str]) -> None:
    """texts: of programs, by the folder below that each is recorded in."""
    todo = []
    for name, text in texts.items():
        at = os.path.join(folder, name)
        os.makedirs(at, exist_ok=True)
        if not os.path.exists(os.path.join(at, "run.fbt")):
            with open(os.path.join(at, "train.py"), "w", encoding="utf-8") as file:
                file.write(text)
            todo.append(at)
    if not todo:
        return
    done = subprocess.run(
        [sys.executable, os.path.join(HERE, "fork_programs.py")], input="\n".join(todo), text=True,
        capture_output=True, check=False, env={
            **os.environ, "PYTHONPATH": PACKAGE, "PYTHONHASHSEED": "0", "FIRSTBIT_LEVEL": ""})
    if done.stdout or done.returncode:
        raise SystemExit(f"blind_set.py: not recorded: {done.stdout or done.stderr}")


def is_right_line(case: Case, a: str, b: str, first: Dict) -> bool:
    """Whether a line that the report names is one that the change touches, or one as right."""
    old, new = a.splitlines(), b.splitlines()
    codes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for stack, text, at in (("stack_a", old, 1), ("stack_b", new, 3)):
        named = re.search(r"train\.py:(\d+)", first.get(stack) or "")
        if not named:
            continue
        number = int(named.group(1)) - 1
        if any(code[0] != "equal" and code[at] <= number < code[at + 1] for code in codes) or (
                number < len(text) and any(part in text[number] for part in case.lines)):
            return True
    told = " ".join(str(first.get(key)) for key in ("step", "phase", "path", "op", "kind", "slot"))
    return case.event != "" and re.search(case.event, told) is not None


def judge(firstbit: str, at: str, case: Case, a: str, b: str) -> Dict[str, bool]:
    done = subprocess.run(
        [firstbit, "diff", "--json", *(os.path.join(at, x, "run.fbt") for x in ("base", case.id))],
        capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    cause = report.get("cause") or {}
    said = [cause.get("name")] + [k["name"] for k in cause.get("candidates") or []]
    differs = report["verdict"] == "differ"
    guesses = [name in case.causes and name != "unknown" for name in said[:3]]
    row = {"detected": differs, "line": differs and is_right_line(case, a, b, report["first"]),
           "first guess": differs and guesses[0], "top three": differs and any(guesses),
           "same": report["verdict"] == "same"}
    if not (row["same"] if case.kind == "clean" else row["line"] and row["first guess"]):
        print(f"{os.path.basename(at)}/{case.id} ({case.kind}): {report['verdict']}, "
              f"{'line, ' if row['line'] else ''}{'|'.join(map(str, said))}: {cause.get('text')}")
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("firstbit", help="the program")
    parser.add_argument("--folder", help="where recordings are kept")
    parser.add_argument("program", nargs="*", help="of blind/; all of them by default")
    options = parser.parse_intermixed_args()
    programs = options.program or sorted(
        name[:-len(".cases")] for name in os.listdir(BLIND) if name.endswith(".cases"))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for program in programs:
            at = os.path.join(os.path.abspath(options.folder or scratch), program)
            source = source_of(program)
            cases = cases_of(program)
            texts = {case.id: changed(source, case.change) for case in cases}
            record(at, {"base": source, **texts})
            rows += [(case, judge(os.path.abspath(options.firstbit), at, case, source,
                                  texts[case.id])) for case in cases]
    for title, kinds in (("all", ("bug", "late bug")), ("by step 10", ("bug",)),
                         ("later", ("late bug",))):
        chosen = [row for case, row in rows if case.kind in kinds]
        counts = ", ".join(f"{name} {sum(row[name] for row in chosen)}" for name in (
            "detected", "line", "first guess", "top three"))
        print(f"{title}: {counts} of {len(chosen)}")
    clean = [row for case, row in rows if case.kind == "clean"]
    print(f"clean pairs the same: {sum(row['same'] for row in clean)} of {len(clean)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
