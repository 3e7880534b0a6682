#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Recordings of PyTorch programs: equal runs are the same, a planted change is found where it is,
and no recording changes a bit.

usage: test_torch_recorder.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import programs

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = [program.__name__ for program in programs.PROGRAMS]
FIRSTBIT = ""

# What the scope of a comparison says is on no record.
NOT_RECORDED = {"awkward": ["contents not recorded: 2 of layout sparse_coo"]}

# Where the change of each program shows first: what of `first` must be what.
PLANTED = {
    "mlp": {"step": 3, "phase": "optimizer", "path": "optimizer0.group0", "slot": "lr"},
    "conv": {"step": 2, "kind": "mode", "slot": "training"},
    "gpt": {"step": 1, "phase": "forward", "kind": "draw", "path": "torch"},
    "lstm": {"step": 2, "kind": "seed", "path": "torch"},
    "gan": {"step": 3, "op": "zero_grad", "path": "optimizer1", "what": "only_a"},
    "accumulation": {"step": 2, "micro": 1, "phase": "forward", "op": "div"},
    "custom": {"step": 1, "phase": "backward", "op": "mul"},
    "loader": {"step": 1, "kind": "sample", "path": "Numbers"},
    "awkward": {"step": 2, "op": "add_", "what": "only_b"},
    "checkpointed": {"step": 1, "phase": "optimizer", "path": "clip"},
    "closure": {"step": 1, "op": "addmm", "slot": "in0"},
    "threads": {"step": 1, "phase": "backward", "path": "0", "op": "native_layer_norm_backward"},
}

LINES = """import torch
net = torch.nn.Linear(3, 1)
opt = torch.optim.SGD(net.parameters(), lr=.1)

def loss_of(x, t):
    return torch.nn.functional.mse_loss(net(x), t)

for i in range(5):
    x = torch.ones(2, 3) * i
    if i == 2:
        a = loss_of(x, torch.zeros(2, 1))
    else:
        a = loss_of(x, torch.zeros(2, 1))
    opt.zero_grad(); a.backward(); opt.step()
"""

PARTS = """import torch
net = torch.nn.Linear(3, 4, bias=False)
opt = torch.optim.SGD(net.parameters(), lr=.1)
for i in range(2):
    z = net(torch.ones(4, 3))
    similar = z / .5
    similar.fill_diagonal_(-1.)
    buffer = torch.empty(3, 4)
    for k in range(3):
        buffer[k] = similar[k].relu() if k == 7 else similar[k]
    whole = z.detach() * 2
    whole[1:] = whole[:-1].clone()
    whole.fill_(2.)
    loss = torch.relu(similar).sum() + torch.sigmoid(buffer).sum() + torch.tanh(whole).sum()
    opt.zero_grad(); loss.backward(); opt.step()
"""

LOADERS = """import torch
from torch.utils.data import DataLoader, TensorDataset
net = torch.nn.Linear(3, 1)
opt = torch.optim.SGD(net.parameters(), lr=.1)
turn = 0

def collate(rows):
    global turn
    turn += 1
    x = torch.stack([row[0] for row in rows])
    return {"x": x, "y": x + 1} if turn % 2 else {"y": x + 1, "x": x}

data = TensorDataset(torch.ones(2, 3))
first = DataLoader(data, batch_size=2, collate_fn=collate)
for i in range(10):
    loader = first if i < 2 else DataLoader(data, batch_size=2, collate_fn=collate)
    for batch in loader:
        opt.zero_grad(); net(batch["x"] + batch["y"]).sum().backward(); opt.step()
    del loader
"""


def run(folder, *arguments, **environment):
    """Runs the programs in a process of their own; their names and final hashes."""
    os.makedirs(folder, exist_ok=True)
    # Arguments that differ would be a cause.
    done = subprocess.run([sys.executable, os.path.join(HERE, "programs.py"), ".", *arguments],
                          cwd=folder, env={**os.environ, "FIRSTBIT_DEBUG": "1", **environment},
                          capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return dict(line.split() for line in done.stdout.splitlines())


def firstbit(*arguments):
    done = subprocess.run([FIRSTBIT, *arguments], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def firstbit_in(folder, *arguments, **environment):
    done = subprocess.run([FIRSTBIT, *arguments], cwd=folder, env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def diff(a, b):
    status, out, err = firstbit("diff", "--json", a, b)
    if status not in (0, 1, 3):
        raise AssertionError(err)
    return json.loads(out)


class Recordings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.at = {name: os.path.join(cls.folder.name, name) for name in "abc"}
        cls.bits = {"a": run(cls.at["a"], PYTHONHASHSEED="1"),
                    "b": run(cls.at["b"], PYTHONHASHSEED="2", MALLOC_PERTURB_="85",
                             MALLOC_MMAP_THRESHOLD_="4096")}
        run(cls.at["c"], PYTHONHASHSEED="1", PLANTED="1")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def trace(self, which, name):
        return os.path.join(self.at[which], name + ".fbt")

    def test_two_runs_of_one_program_are_the_same(self):
        for name in NAMES:
            with self.subTest(name):
                found = diff(self.trace("a", name), self.trace("b", name))
                self.assertEqual(found["verdict"], "same", found)
                self.assertEqual(found["scope"]["left_out"], NOT_RECORDED.get(name, []))

    def test_a_planted_change_is_found_where_it_is(self):
        self.assertEqual(sorted(PLANTED), sorted(NAMES))
        for name, expected in PLANTED.items():
            with self.subTest(name):
                found = diff(self.trace("a", name), self.trace("c", name))
                self.assertEqual(found["verdict"], "differ")
                self.assertEqual({key: found["first"][key] for key in expected}, expected)

    def test_causes_are_named(self):
        causes = {"mlp": "schedule", "conv": "mode-flag", "gpt": "forward-op",
                  "lstm": "rng-seed", "custom": "backward-op", "loader": "data-content"}
        for name, cause in causes.items():
            with self.subTest(name):
                found = diff(self.trace("a", name), self.trace("c", name))
                self.assertEqual(found["cause"]["name"], cause)

    def test_threads_are_named_as_the_cause(self):
        found = diff(self.trace("a", "threads"), self.trace("c", "threads"))
        self.assertEqual(found["cause"]["name"], "environment")
        self.assertIn("threads 1 | 2", found["cause"]["text"])

    def test_recording_changes_no_bit_at_any_level(self):
        plain = run(os.path.join(self.folder.name, "plain"), "--plain")
        self.assertEqual(self.bits["a"], plain)
        self.assertEqual(self.bits["b"], plain)
        for level in ("steps", "draws", "sketch", "values"):
            with self.subTest(level):
                names = NAMES if level == "values" else ["gpt", "conv"]
                recorded = run(os.path.join(self.folder.name, level), "--level", level, *names)
                self.assertEqual(recorded, {name: plain[name] for name in names})

    def test_levels_agree_on_what_both_recorded(self):
        low = os.path.join(self.folder.name, "low")
        run(low, "--level", "draws", "gpt")
        found = diff(self.trace("a", "gpt"), os.path.join(low, "gpt.fbt"))
        self.assertEqual(found["verdict"], "same", found)

    def test_every_trace_verifies(self):
        for name in NAMES:
            status, out, err = firstbit("verify", self.trace("a", name))
            self.assertEqual(status, 0, out + err)

    def test_events_have_paths_phases_inputs_and_stacks(self):
        import firstbit as package

        with package.open(self.trace("a", "gpt")) as trace:
            events = [e for e in trace if e["step"] == 1]
        head = [e for e in events if e["path"] == "head" and e["phase"] == "forward" and
                e["slot"] == "out"]
        self.assertEqual([e["op"] for e in head], ["mm"])
        self.assertRegex(head[0]["stack"], r"^forward at .*programs.py:\d+ \(in forward at modules/linear.py:\d+\)")
        made = {(i["path"], i["op"]) for i in head[0]["inputs"]}
        self.assertIn(("wte.weight", "init"), made)  # tied to the embedding
        backward = {e["path"] for e in events if e["phase"] == "backward" and e["slot"] == "out"}
        self.assertIn("h.1.proj", backward)
        updated = {(e["path"], e["slot"]) for e in events if e["kind"] == "param"}
        self.assertIn(("h.0.ln.weight", "exp_avg_sq"), updated)
        clip = [e for e in events if e["path"] == "clip" and e["slot"] == "grad_norm"]
        self.assertEqual(len(clip), 1)

    def record_text(self, text, name="written", **environment):
        """Events of a program that is written here, each step's ops recorded."""
        import firstbit as package

        folder = os.path.join(self.folder.name, name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "program.py"), "w", encoding="utf-8") as file:
            file.write(text)
        status, out, err = firstbit_in(folder, "record", "--level", "ops", "-o", "run.fbt", "--",
                                       sys.executable, "program.py", **environment)
        self.assertEqual(status, 0, out + err)
        with package.open(os.path.join(folder, "run.fbt")) as trace:
            return list(trace)

    def test_an_op_has_the_line_that_calls_it_in_this_step(self):
        for fast in ("1", "0"):
            environment = {} if fast == "1" else {"FIRSTBIT_FAST": "0"}
            with self.subTest(fast=fast):
                events = self.record_text(LINES, f"lines{fast}", **environment)
                lines = {e["step"]: e["stack"].splitlines() for e in events
                         if e["op"] == "mse_loss" and e["slot"] == "out" and e["step"] <= 4}
                for step in (1, 2, 3, 4):
                    self.assertIn("loss_of at program.py:6", lines[step][0])
                    self.assertEqual(lines[step][1],
                                     f"<module> at program.py:{11 if step == 3 else 13}")
                modes = {e["step"]: e["stack"] for e in events
                         if e["kind"] == "mode" and e["slot"] == "training" and
                         e["occurrence"] == 0 and 0 < e["step"] <= 4}
                self.assertIn("program.py:11", modes[3])
                self.assertIn("program.py:13", modes[2])

    def test_what_is_written_in_parts_is_made_by_all_that_wrote(self):
        for fast in ("1", "0"):
            environment = {} if fast == "1" else {"FIRSTBIT_FAST": "0"}
            with self.subTest(fast=fast):
                events = self.record_text(PARTS, f"parts{fast}", **environment)

                def inputs_of(op):
                    (found,) = [e for e in events if e["step"] == 1 and e["op"] == op and
                                e["slot"] == "out"]
                    return sorted((i["op"], i["occurrence"]) for i in found["inputs"])

                self.assertEqual(inputs_of("relu"), [("div", 0), ("fill_", 0)])
                self.assertEqual(inputs_of("sigmoid"), [("copy_", 0), ("copy_", 1), ("copy_", 2)])
                self.assertEqual(inputs_of("tanh"), [("fill_", 1)])  # whole: nothing is left

    def test_memory_that_a_storage_left_is_that_of_the_next_one_there(self):
        import firstbit as package
        import firstbit.torch
        import torch
        from firstbit.torch import core

        def resized():
            """A tensor where one that still lives lay, if the allocator happens to give that."""
            kept = []
            for size in list(range(100, 2000, 100)) + [10000, 40000, 100000, 1000000]:
                moved = torch.zeros(size)
                left = moved.data_ptr()
                moved.resize_(4 * size)
                kept.append((moved, torch.ones(size)))
                if kept[-1][1].data_ptr() == left:
                    break
            return kept.pop()

        def shared():
            memory = bytearray(64)
            moved = torch.frombuffer(memory, dtype=torch.float32)
            moved.zero_()
            moved.share_memory_()
            return moved, torch.frombuffer(memory, dtype=torch.float32).fill_(1)

        for fast in {core.fast, None}:
            for pair in (resized, shared):
                path = os.path.join(self.folder.name, "left.fbt")
                with self.subTest(pair=pair.__name__, fast=fast), \
                        unittest.mock.patch.object(core, "fast", fast):
                    with firstbit.torch.record(path, level="ops"):
                        old, new = pair()
                        new * 2
                        del old
                        new * 3
                    with package.open(path) as trace:
                        events = [e for e in trace if e["op"] == "mul"][-2:]
                    self.assertEqual([e["slot"] for e in events], ["out", "out"])
                    made = [e["inputs"][0]["op"] for e in events]
                    self.assertEqual(made, ["ones" if pair is resized else "fill_"] * 2)

    def test_a_part_of_a_storage_is_told_from_its_other_parts(self):
        import firstbit as package
        import firstbit.torch
        import torch
        from firstbit.torch import core

        for fast in {core.fast, None}:
            path = os.path.join(self.folder.name, "parts_of.fbt")
            outside, to = torch.arange(12.0), torch.zeros(12)
            with self.subTest(fast=fast), unittest.mock.patch.object(core, "fast", fast):
                with firstbit.torch.record(path, level="ops"):
                    for i in range(3):
                        to[4 * i:4 * i + 4] = outside[4 * i:4 * i + 4] * 2
                    (to[2:6] + to[6:10])
                    (outside[:4] * 3, outside[:4] * 4)
                with package.open(path) as trace:
                    events = list(trace)
                seen = [e for e in events if e["op"] == "mul" and e["slot"] == "in0"]
                self.assertEqual(len(seen), 4)  # the first part again, behind others: once
                self.assertEqual(len({e["hash"] for e in seen}), 3)
                told = [[json.loads(e.get("arguments") or "{}").get(name) for e in events
                         if e["op"] == op and e["slot"] == "out"]
                        for op, name in (("copy_", "out.offset"), ("add", "in0.offset"),
                                         ("add", "in1.offset"), ("mul", "in0.offset"))]
                self.assertEqual(told, [[None, 4, 8], [2], [6], [None, 4, 8, None, None]])

    def test_a_new_loader_begins_at_epoch_0_and_keys_have_no_order(self):
        events = self.record_text(LOADERS)
        samples = [e for e in events if e["kind"] == "sample"]
        self.assertEqual([int(e["epoch"]) for e in samples], [0, 1] + [0] * 8)
        self.assertEqual(len({e["hash"] for e in samples}), 1)

    def test_the_extension_records_what_python_records(self):
        from firstbit.torch.core import fast

        if fast is None:
            self.skipTest("the extension module is not built")
        slow = os.path.join(self.folder.name, "slow")
        run(slow, "gpt", "awkward", "accumulation", FIRSTBIT_FAST="0")
        for name in ("gpt", "awkward", "accumulation"):
            with self.subTest(name):
                self.assertEqual(firstbit("show", "--json", os.path.join(slow, name + ".fbt")),
                                 firstbit("show", "--json", self.trace("a", name)))

    def test_ops_carry_their_arguments_and_modes_what_learns(self):
        import firstbit as package

        with package.open(self.trace("a", "gpt")) as trace:
            events = list(trace)
        dropped = {e["arguments"] for e in events if e["op"] == "bernoulli_" and e["slot"] == "out"}
        self.assertEqual({json.loads(text)["p"] for text in dropped}, {0.9})
        norms = [e for e in events if e["op"] == "native_layer_norm" and e["slot"] == "out"]
        self.assertEqual(json.loads(norms[0]["arguments"])["eps"], 1e-5)
        held = {e["path"] for e in events if e["slot"] == "held by optimizer0"}
        self.assertEqual(held, {e["path"] for e in events if e["slot"] == "requires_grad"})
        self.assertIn("h.1.mlp.2.weight", held)
        limits = {e["value"] for e in events if e["path"] == "clip" and e["slot"] == "max_norm"}
        self.assertEqual(limits, {1})
        drawn = [e for e in events if e["op"] == "bernoulli_" and e["slot"] == "out"]
        self.assertEqual({e["inputs"][-1]["op"] for e in drawn}, {"draw"})
        tied = [e["storage"] for e in events if e["path"] == "wte.weight" and e["op"] == "init"]
        self.assertNotIn("0", tied)

    def test_ranks_write_linked_files_and_collectives_are_events(self):
        import torch

        if not torch.distributed.is_available():
            self.skipTest("PyTorch without torch.distributed")
        paths = [os.path.join(self.folder.name, name) for name in ("rank_a.fbt", "rank_b.fbt",
                                                                   "rank_c.fbt")]
        for path, factor in zip(paths, ("1", "1", "2")):
            done = subprocess.run([sys.executable, os.path.join(HERE, "ranks_program.py"), path,
                                   factor], capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(diff(paths[0], paths[1])["verdict"], "same")
        self.assertEqual(diff(paths[0], paths[2])["verdict"], "differ")
        status, out, _ = firstbit("info", "--json", paths[0])
        self.assertEqual((status, [p["role"] for p in json.loads(out)["parts"]]), (0, ["rank1"]))
        found = [json.loads(line) for line in firstbit("show", "--json", "--kind", "collective",
                                                       paths[0])[1].splitlines()]
        self.assertEqual({(e["op"], e["arguments"]) for e in found},
                         {("all_reduce", '{"op":"sum"}')})

    def test_a_collectives_tensors_are_held_as_long_as_its_group_holds_them(self):
        import torch
        from firstbit.torch import collectives

        before = len(collectives._held)
        tensor = torch.ones(2, requires_grad=True)
        graph = tensor * torch.ones(2)  # refers to it outside of Python, as a group's thread does
        graph = graph * tensor
        collectives.hold([[tensor]], {})
        del tensor
        collectives.hold([], {})
        self.assertEqual(len(collectives._held), before + 1)
        del graph
        collectives.hold([], {})
        self.assertEqual(len(collectives._held), before)

    def test_a_generator_of_python_that_is_drawn_from_once_more_is_seen(self):
        program = ("""
import random, sys, torch, firstbit.torch
torch.manual_seed(0)
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with firstbit.torch.record(sys.argv[1], model=model, optimizer=optimizer):
    random.seed(3)
    for i in range(3):
        model(torch.full((1, 2), random.random())).sum().backward()
        if i == 1 and len(sys.argv) > 2:
            random.random()
        optimizer.step()
""")
        paths = [os.path.join(self.folder.name, name) for name in ("py_a.fbt", "py_b.fbt")]
        subprocess.run([sys.executable, "-c", program, paths[0]], check=True, timeout=300)
        subprocess.run([sys.executable, "-c", program, paths[1], "more"], check=True, timeout=300)
        first = diff(*paths)["first"]
        self.assertEqual((first["step"], first["path"], first["op"]), (2, "python", "draw"))

    def test_a_new_optimizer_takes_over_the_count_of_steps(self):
        import firstbit as package
        import firstbit.torch
        import torch

        path = os.path.join(self.folder.name, "lead.fbt")
        model = torch.nn.Linear(2, 2)
        with firstbit.torch.record(path, model=model):
            for _ in range(2):
                optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
                for _ in range(2):
                    optimizer.zero_grad()
                    model(torch.ones(1, 2)).sum().backward()
                    optimizer.step()
        with package.open(path) as trace:
            steps = [e["step"] for e in trace if e["path"] == "loss"]
        self.assertEqual(steps, [1, 2, 3, 4])

    def test_a_compiled_region_is_one_event_and_compiled_as_without_a_recording(self):
        import torch

        if not hasattr(torch, "compile"):
            self.skipTest("this PyTorch has no torch.compile")
        path = os.path.join(self.folder.name, "compiled.fbt")
        program = os.path.join(HERE, "compiled_program.py")
        plain, recorded = (subprocess.run([sys.executable, program, *more], capture_output=True,
                                          text=True, timeout=300) for more in ((), (path,)))
        self.assertEqual(recorded.returncode, 0, recorded.stderr)
        self.assertEqual(recorded.stdout, plain.stdout)
        found = firstbit("show", "--json", "--step", "1", path)[1].splitlines()
        outs = [e for e in map(json.loads, found) if e["op"] == "compiled" and e["slot"] == "out"]
        self.assertEqual(len(outs), 2)
        self.assertTrue(all(e["hash"] and e["inputs"] for e in outs))

    def test_contents_are_row_major_whatever_the_strides(self):
        import torch

        import firstbit as package
        import firstbit.torch

        path = os.path.join(self.folder.name, "strides.fbt")
        x = torch.arange(12.0).view(3, 4)
        z = torch.complex(x, -x)
        model = torch.nn.Linear(1, 1)
        with firstbit.torch.record(path, model=model, ops_steps=None,
                                   optimizer=torch.optim.SGD(model.parameters(), lr=1)) as run:
            made = [x.t() * 2, x[:, ::2] * 1, x.t()[1:].half() * 1, torch.conj(z).t() + 0,
                    x.expand(2, 3, 4) * 1, x.t().bool() & True, x.sum(), x[:0] * 1]
        with package.Recorder(path + "2") as plain:
            for tensor in made:
                plain.tensor("x", tensor.resolve_conj().contiguous().numpy())
        with package.open(path) as trace:
            hashes = {(e["hash"], tuple(e["shape"])) for e in trace
                      if e["kind"] == "tensor" and e["slot"] == "out"}
        with package.open(path + "2") as trace:
            expected = [(e["hash"], tuple(e["shape"])) for e in trace]
        self.assertEqual(len(expected), len(made))
        for one in expected:
            self.assertIn(one, hashes)

    def test_undefined_contents_have_no_hash(self):
        import firstbit as package

        with package.open(self.trace("a", "awkward")) as trace:
            empty = [e for e in trace if e["op"] == "empty" and e["phase"] == "forward"]
        self.assertTrue(empty)
        self.assertEqual({e["hash"] for e in empty}, {None})
        self.assertTrue(all(e["undefined"] for e in empty))

    def test_awkward_dtypes_are_recorded_or_named(self):
        import firstbit as package

        with package.open(self.trace("a", "awkward")) as trace:
            events = list(trace)
        self.assertLessEqual({"f16", "bf16", "c64", "f32"}, {e["dtype"] for e in events})
        self.assertTrue(any("layout sparse" in (e.get("text") or "") for e in events))

    def test_a_strange_program_sees_and_computes_the_same(self):
        def strange(*trace):
            done = subprocess.run([sys.executable, os.path.join(HERE, "strange_program.py"), *trace],
                                  capture_output=True, text=True, timeout=300)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            return done.stdout

        a, b = (os.path.join(self.folder.name, name) for name in ("strange_a.fbt", "strange_b.fbt"))
        plain = strange()
        self.assertEqual(strange(a), plain)
        self.assertEqual(strange(b), plain)
        self.assertEqual(diff(a, b)["verdict"], "same")

    def test_a_recording_puts_back_what_it_replaced(self):
        import torch

        import firstbit.torch

        places = [(torch.nn.Module, "__call__"), (torch.optim.Optimizer, "__init__"),
                  (torch.optim.SGD, "step"), (torch.utils.data.DataLoader, "__iter__"),
                  (torch, "manual_seed"), (torch.autograd.Variable, "_execution_engine")]
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        before = [getattr(owner, name) for owner, name in places]
        path = os.path.join(self.folder.name, "one.fbt")
        with self.assertRaises(ZeroDivisionError):
            with firstbit.torch.record(path, model=model, optimizer=optimizer):
                model(torch.ones(1, 2)).sum().backward()
                optimizer.step()
                raise ZeroDivisionError
        self.assertEqual([getattr(owner, name) for owner, name in places], before)
        self.assertEqual(firstbit_verify(path), 0)

    def test_a_recorder_that_fails_does_not_harm_the_program(self):
        done = subprocess.run(
            [sys.executable, "-c", """
import torch, firstbit.torch
model = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with firstbit.torch.record("full.fbt", model=model, optimizer=optimizer, max_bytes=20000,
                           ops_steps=None):
    for _ in range(200):
        model(torch.randn(1, 2)).sum().backward()
        optimizer.step()
print("trained")
"""], cwd=self.folder.name, capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stdout), (0, "trained\n"), done.stderr)
        self.assertIn("the recording ended early", done.stderr)


def firstbit_verify(path):
    return firstbit("verify", path)[0]


if __name__ == "__main__":
    FIRSTBIT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
