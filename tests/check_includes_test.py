#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Plants wrong includes for check_includes.py: each must be found, and a clean tree be silent."""

import os
import subprocess
import sys
import tempfile
import unittest

CHECK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "check_includes.py")

CLEAN = {
    "include/firstbit/status.h": "",
    "include/firstbit/trace.h": '#include "firstbit/status.h"\n',
    "base/bytes.h": '#include "firstbit/status.h"\n',
    "kernels/sum.c": '#include "base/bytes.h"\n',
    "engine/run.h": '#include "base/bytes.h"\n',
    "tracer/reader.c": '#include "firstbit/trace.h"\n#include "base/bytes.h"\n',
    "replay/replay.h": '#include "engine/run.h"\n#include "firstbit/trace.h"\n',
    "diff/diff.h": '#include "replay/replay.h"\n',
    "diff/read/headers.h": '#include "diff/diff.h"\n',
    "diff/judge/judge.h": '#include "diff/read/headers.h"\n',
    "diff/why/why.h": '#include "diff/judge/judge.h"\n',
    "cli/main.c": '#include "diff/diff.h"\n#include <stdio.h>\n',
}


class CheckIncludes(unittest.TestCase):
    def run_on(self, **planted):
        files = dict(CLEAN, **planted)
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            done = subprocess.run([sys.executable, CHECK, root], capture_output=True, text=True)
        return done.returncode, done.stdout

    def assert_found(self, expected, planted):
        status, output = self.run_on(**planted)
        self.assertEqual(status, 1, output)
        self.assertEqual(output.strip(), expected)

    def test_clean_tree_is_silent(self):
        self.assertEqual(self.run_on(), (0, ""))

    def test_include_to_the_right_is_found(self):
        self.assert_found("base/hash.c: base may not include engine/run.h",
                          {"base/hash.c": '#include "engine/run.h"\n'})

    def test_tracer_may_not_know_the_engine(self):
        self.assert_found("tracer/writer.c: tracer may not include engine/run.h",
                          {"tracer/writer.c": '#  include "engine/run.h"\n'})

    def test_engine_may_not_know_the_trace(self):
        self.assert_found("engine/run.c: engine may not include include/firstbit/trace.h",
                          {"engine/run.c": '#include "firstbit/trace.h"\n'})

    def test_public_header_may_not_look_inside(self):
        self.assert_found("include/firstbit/event.h: base may not include engine/run.h",
                          {"include/firstbit/event.h": '#include "engine/run.h"\n'})

    def test_recorder_may_not_know_replay(self):
        self.assert_found("recorders/preload.c: recorders may not include replay/replay.h",
                          {"recorders/preload.c": '#include "replay/replay.h"\n'})

    def test_example_sees_public_headers_only(self):
        self.assert_found("examples/mine.c: examples may not include base/bytes.h",
                          {"examples/mine.c": '#include "base/bytes.h"\n'})

    def test_cycle_is_found(self):
        self.assert_found("cycle: diff/a.h -> diff/b.h -> diff/a.h",
                          {"diff/a.h": '#include "diff/b.h"\n',
                           "diff/b.h": '#include "diff/a.h"\n'})

    def test_include_of_a_later_room_is_found(self):
        self.assert_found("diff/read/chains.h: diff/read may not include diff/judge/judge.h",
                          {"diff/read/chains.h": '#include "diff/judge/judge.h"\n'})

    def test_rooms_without_an_order_may_not_know_each_other(self):
        self.assert_found("diff/digest/digest.h: diff/digest may not include diff/why/why.h",
                          {"diff/digest/digest.h": '#include "diff/why/why.h"\n'})

    def test_missing_file_is_found(self):
        self.assert_found('diff/c.c: includes "diff/gone.h", which is not in the repository',
                          {"diff/c.c": '#include "diff/gone.h"\n'})


if __name__ == "__main__":
    unittest.main()
