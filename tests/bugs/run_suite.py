#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the bug suite: records each program and its changed twin, diffs them, and prints what was
found beside what was planted.

usage: run_suite.py FIRSTBIT [--only ID]... [--also FILE.py]... [--quick] [--jobs N] [--fast]
                    [--rounding] [--strict] [--json | --markdown]
                    [--keep FOLDER [--reuse]]

Programs are recorded as a user would, by `firstbit record --level sketch`; --fast imports torch
once and forks for each of them. Exit status: 0 where of the bugs 95 % are detected, 90 % in the very
event and 80 % with the right cause at first guess, and of the pairs with equal bits 90 % are the same;
with --strict where all are; else 1.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
from dataclasses import replace

import catalogue
from judge_pair import judge_bug, judge_clean
from record_programs import Recordings
from result_table import is_same, print_markdown, print_tables, totals


def selected(cases, options):
    names = set(options.only or ())
    return [c for c in cases if (not names or c.id in names) and (c.quick or not options.quick)]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("firstbit", help="the program")
    parser.add_argument("--only", action="append", metavar="ID", help="only this case; repeatable")
    parser.add_argument("--also", action="append", metavar="FILE.py", default=[],
                        help="a further file with BUGS, CLEANS or both; repeatable")
    parser.add_argument("--quick", action="store_true", help="only cases that cover the causes")
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time")
    parser.add_argument("--fast", action="store_true", help="import torch once")
    parser.add_argument("--rounding", action="store_true",
                        help="bugs under the rules for rounding: none may pass for it")
    parser.add_argument("--strict", action="store_true", help="event and cause must fit too")
    parser.add_argument("--json", action="store_true", help="one object instead of tables")
    parser.add_argument("--markdown", action="store_true", help="the tables of docs/bugs.md")
    parser.add_argument("--keep", metavar="FOLDER", help="leave programs and traces there")
    parser.add_argument("--reuse", action="store_true", help="with --keep: diff what is there")
    return parser.parse_args()


def load(path):
    """The cases of a file that is not part of the catalogue."""
    spec = importlib.util.spec_from_file_location("also", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(options, folder):
    also = [load(path) for path in options.also]
    bugs = selected(sum((getattr(m, "BUGS", []) for m in also), catalogue.BUGS), options)
    cleans = selected(sum((getattr(m, "CLEANS", []) for m in also), catalogue.CLEANS), options)
    if options.rounding:
        bugs = [replace(bug, options=bug.options + ("--rounding",)) for bug in bugs
                if "--bitwise" not in bug.options]
    recordings = Recordings(options.firstbit, folder, options.jobs, options.fast,
                            options.reuse)
    recordings.make(bugs + cleans)
    return ([judge_bug(recordings, bug) for bug in bugs],
            [judge_clean(recordings, clean) for clean in cleans])


def share(rows, key):
    return sum(bool(row[key]) for row in rows) / len(rows) if rows else 1.0


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        bugs, cleans = run(options, options.keep or temporary)
    if options.json:
        print(json.dumps({"schema": 1, "bugs": bugs, "clean": cleans,
                          "totals": totals(bugs, cleans)}, indent=1))
    elif options.markdown:
        print_markdown(bugs, cleans)
    else:
        print_tables(bugs, cleans)
    return 0 if all(share(rows, key) >= (1 if options.strict else goal)
                    for rows, key, goal in ((bugs, "detected", 0.95), (bugs, "exact", 0.90),
                                            (bugs, "first_guess", 0.80),
                                            ([c for c in cleans if is_same(c)], "as_expected", 0.90)
                                            )) else 1


if __name__ == "__main__":
    sys.exit(main())
