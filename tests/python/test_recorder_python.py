#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""firstbit.Recorder and firstbit.open: what goes in comes out, whatever the array.

usage: test_recorder_python.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import array
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import firstbit
from firstbit import _library

FIRSTBIT = ""

try:
    import numpy
except ImportError:
    numpy = None


class Recorder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "run.fbt")

    def events(self):
        with firstbit.open(self.path) as trace:
            return list(trace)

    def test_structures_have_the_size_that_the_library_expects(self):
        import struct

        self.assertEqual(struct.calcsize(_library.EVENT_FORMAT),
                         _library.Event.sketch.offset)

    def test_each_kind_comes_back(self):
        with firstbit.Recorder(self.path, header={"seed": 7}) as run:
            run.seed("python", 7)
            run.step()
            drawn = run.draw("python", 3, values=array.array("d", [1, 2, 3]))
            self.assertIsNotNone(drawn)
            made = run.tensor("fc", array.array("f", [1, 2]), op="linear")
            run.scalar("loss", 0.5, inputs=[made])
            run.sample("digits", [4, 2], role="train", epoch=1, contents=b"abc")
            run.mode("net", False, slot="training")
            run.mark("done")
            self.assertEqual(run.step(), 2)
        found = self.events()
        self.assertEqual([e["kind"] for e in found],
                         ["seed", "draw", "tensor", "scalar", "sample", "mode", "mark"])
        self.assertEqual([e["step"] for e in found], [0, 1, 1, 1, 1, 1, 1])
        self.assertEqual(found[3]["inputs"][0]["path"], "fc")
        self.assertEqual((found[4]["indices"], found[4]["role"]), (["4", "2"], "train"))
        self.assertEqual(found[2]["shape"], [2])

    def test_each_line_that_reports_is_told(self):
        with firstbit.Recorder(self.path) as run:
            for step in (1, 2, 3):
                run.step(step)
                if step == 2:
                    run.scalar("loss", 1.0)
                else:
                    run.scalar("loss", 1.0)
        stacks = [e["stack"] for e in self.events()]
        lines = [int(re.search(r"test_recorder_python.py:(\d+)", stack).group(1)) for stack in stacks]
        self.assertEqual(lines[0], lines[2])
        self.assertEqual(lines[1], lines[0] - 2)

    def test_occurrences_count_within_step_and_micro_batch(self):
        with firstbit.Recorder(self.path) as run:
            for step in (1, 2):
                run.step(step)
                for micro in (0, 1, None):
                    run.micro(micro)
                    run.scalar("loss", 1.0)
                    run.scalar("loss", 1.0)
        found = self.events()
        self.assertEqual([e["occurrence"] for e in found], [0, 1] * 6)
        self.assertEqual([e["micro"] for e in found][:6], [0, 0, 1, 1, None, None])

    @unittest.skipIf(numpy is None, "NumPy is not installed")
    def test_contents_do_not_depend_on_layout_or_byte_order(self):
        x = numpy.arange(12, dtype=numpy.float32).reshape(3, 4)
        same = [x, numpy.asfortranarray(x), numpy.repeat(x, 2, 1)[:, ::2], x.astype(">f4"),
                x[::-1][::-1], x.view()]
        with firstbit.Recorder(self.path) as run:
            for y in same + [x.T]:
                run.tensor("x", y)
        found = self.events()
        self.assertEqual(len({e["hash"] for e in found[:-1]}), 1)
        self.assertEqual({tuple(e["shape"]) for e in found[:-1]}, {(3, 4)})
        self.assertNotEqual(found[-1]["hash"], found[0]["hash"])

    @unittest.skipIf(numpy is None, "NumPy is not installed")
    def test_every_dtype_and_awkward_shape_is_recorded(self):
        names = ["float64", "float32", "float16", "complex64", "complex128", "int8", "int16",
                 "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
        arrays = [numpy.ones((2, 3), name) for name in names]
        arrays += [numpy.ones(()), numpy.ones((0, 4)), numpy.full(3, numpy.nan)]
        with firstbit.Recorder(self.path) as run:
            for a in arrays:
                run.tensor("x", a)
            with self.assertRaises(TypeError):
                run.tensor("x", numpy.array(["text"]))
        found = self.events()
        self.assertEqual([tuple(e["shape"]) for e in found], [a.shape for a in arrays])
        self.assertTrue(found[-1]["nonfinite"])
        self.assertTrue(all(e["hash"] for e in found))

    def test_wrong_options_are_refused_with_a_reason(self):
        with self.assertRaisesRegex(ValueError, "level 'all'"):
            firstbit.Recorder(self.path, level="all")
        with self.assertRaisesRegex(firstbit.TraceError, "ops_steps"):
            firstbit.Recorder(self.path, ops_steps="x")
        with self.assertRaisesRegex(firstbit.TraceError, "no-folder"):
            firstbit.Recorder("/no-folder/run.fbt")
        with self.assertRaises(firstbit.TraceError):
            firstbit.open(self.path)

    def test_after_close_calls_do_nothing(self):
        run = firstbit.Recorder(self.path)
        self.assertIsNone(run.close())
        self.assertIsNone(run.close())
        self.assertIsNone(run.scalar("loss", 1.0))
        run.mark("late")
        self.assertEqual(self.events(), [])

    def test_a_forked_child_records_into_a_file_of_its_own(self):
        run = firstbit.Recorder(self.path)
        run.scalar("loss", 1.0)
        child = os.fork()
        if child == 0:
            run.scalar("loss", 2.0)
            run.close()
            os._exit(0)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        run.scalar("loss", 3.0)
        run.close()
        self.assertEqual([e["value"] for e in self.events()], [1, 3])
        with firstbit.open(self.path.replace(".fbt", ".child1.fbt")) as trace:
            self.assertEqual([e["value"] for e in trace], [2])

    def test_the_program_reads_what_python_wrote(self):
        with firstbit.Recorder(self.path) as run:
            run.step()
            run.scalar("loss", 0.25)
        status = subprocess.run([FIRSTBIT, "verify", self.path], capture_output=True)
        self.assertEqual(status.returncode, 0, status.stdout)
        shown = subprocess.run([FIRSTBIT, "show", "--json", self.path], capture_output=True,
                               text=True)
        mine = self.events()[0]
        self.assertIn("test_recorder_python.py", mine.pop("stack"))
        self.assertEqual(json.loads(shown.stdout.splitlines()[0]), mine)


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
