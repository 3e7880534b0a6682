#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ways in which programs use PyTorch that a recording has to follow: each recorded, and without.

usage: test_torch_programs.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import ctypes
import json
import os
import random
import subprocess
import sys
import threading
import unittest

import torch
import torch.nn as nn
import torch.nn.functional as F

import firstbit
import firstbit.torch
import recording
from firstbit.torch import core

_PERTURB = -6  # M_PERTURB of mallopt(3): what fresh memory holds


def net():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))


def loss_of(model):
    return F.cross_entropy(model(torch.randn(4, 6)), torch.randint(0, 3, (4,)))


class Wrapped(torch.Tensor):
    """A tensor without memory, part of a larger one of that kind: its address is a small number."""

    @staticmethod
    def __new__(cls):
        return torch.Tensor._make_wrapper_subclass(cls, (4,), strides=(1,), storage_offset=6,
                                                   dtype=torch.float32)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return torch.ones(2)


class Programs(recording.Case):
    def record(self, name, program, **options):
        options.setdefault("ops_steps", None)
        return super().record(name, program, **options)

    def steps_of_losses(self, events):
        return [e["step"] for e in events if e["path"] == "loss"]

    def test_a_program_in_which_warnings_are_errors_runs_on(self):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", """
import sys, torch, firstbit.torch
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.1))
with firstbit.torch.record(sys.argv[1], ops_steps=None):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(torch.ones(2, 4)).float().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""[1:], self.path("a")], capture_output=True, text=True, timeout=300)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        with firstbit.open(self.path("a")) as trace:
            modes = [e for e in trace if e["slot"] == "autocast"]
        self.assertEqual([json.loads(e["arguments"]) for e in modes], [{"dtype": "bfloat16"}] * 2)

    def test_what_follows_the_last_update_is_one_step_whatever_it_is(self):
        def program(more):
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(3):
                optimizer.zero_grad()
                loss_of(model).backward()
                optimizer.step()
            if more:
                torch.rand(1)

        for more in (False, True):
            events = self.record(str(more), lambda: program(more))
            self.assertEqual(max(e["step"] for e in events), 4)
            learned = {e["path"]: e["hash"] for e in events if e["step"] == 3 and
                       e["phase"] == "optimizer" and e["slot"] == "param"}
            self.assertEqual({e["path"]: e["hash"] for e in events if e["op"] == "end"}, learned)

    @unittest.skipUnless(hasattr(torch.Tensor, "register_post_accumulate_grad_hook"), "PyTorch 2.1")
    def test_optimizers_that_step_within_a_backward_pass_make_one_step_of_it(self):
        def program():
            model = net()
            optimizers = {p: torch.optim.Adam([p], lr=1e-2) for p in model.parameters()}

            def update(parameter):
                optimizers[parameter].step()
                optimizers[parameter].zero_grad()

            for parameter in model.parameters():
                parameter.register_post_accumulate_grad_hook(update)
            for _ in range(3):
                loss_of(model).backward()

        events = self.record("a", program)
        self.assertEqual(self.steps_of_losses(events), [1, 2, 3])
        rates = [e["step"] for e in events if e["slot"] == "lr"]
        self.assertEqual(rates, [1] * 4 + [2] * 4 + [3] * 4)

    @unittest.skipUnless(hasattr(torch, "compile") and hasattr(torch.optim, "Adafactor"),
                         "PyTorch 2.5")
    def test_steps_within_compiled_functions_are_steps(self):
        def program(compile_it):
            model = net().eval()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

            def update():
                optimizer.step()

            compiled = torch.compile(update, backend="eager") if compile_it else update
            bound = (torch.compile(optimizer.step, backend="eager") if compile_it
                     else optimizer.step)
            for i in range(4):
                optimizer.zero_grad()
                loss_of(model).backward()
                compiled() if i % 2 else bound()
            return model

        torch.manual_seed(1)
        final = [program(True)]
        for compile_it in (False, True):
            events = self.record(str(compile_it), lambda: final.append(program(compile_it)))
            self.assertEqual(self.steps_of_losses(events), [1, 2, 3, 4])
            self.assertEqual([e["step"] for e in events if e["slot"] == "lr"], [1, 2, 3, 4])
        for a, b in zip(final[0].parameters(), final[2].parameters()):
            self.assertTrue(torch.equal(a, b))

    def test_programs_without_an_optimizer_have_steps_and_phases(self):
        def by_module(rate):
            models.append(net().eval())
            model = models[-1]
            for i in range(4):
                loss_of(model).backward()
                with torch.no_grad():
                    model(torch.ones(1, 6))  # a look at it
                    for parameter in model.parameters():
                        parameter -= (rate if i == 2 else 0.1) * parameter.grad
                        parameter.grad = None

        def by_tensors(rate):
            weight = torch.randn(6, 3, requires_grad=True)
            for i in range(4):
                loss = F.cross_entropy(torch.randn(4, 6) @ weight, torch.randint(0, 3, (4,)))
                gradient, = torch.autograd.grad(loss, weight)
                weight.data.add_(gradient, alpha=-(rate if i == 2 else 0.1))

        models = []
        for program in by_module, by_tensors:
            with self.subTest(program.__name__):
                events = self.record("a", lambda: program(0.1))
                self.record("b", lambda: program(0.1))
                self.record("c", lambda: program(0.2))
                self.assertEqual(self.steps_of_losses(events), [1, 2, 3, 4])
                self.assertEqual(max(e["step"] for e in events), 4)
                self.assert_same("a", "b")
                first = self.diff("a", "c")["first"]
                self.assertEqual((first["step"], first["op"]),
                                 (3, "mul" if program is by_module else "add_"))
                for options in {"level": "draws"}, {"ops_steps": "2"}:
                    self.record("d", lambda: program(0.1), **options)
                    self.assert_same("a", "d")
        events = self.record("a", lambda: by_module(0.1))
        updates = [e for e in events if e["op"] == "sub_"]
        self.assertEqual({e["phase"] for e in updates}, {"optimizer"})
        self.assertEqual([e["step"] for e in updates], sorted([1, 2, 3, 4] * 4))
        after = [e for e in events if e["kind"] == "param" and e["op"] == "update"]
        self.assertEqual(len(after), 16)
        self.assertEqual({e["inputs"][0]["op"] for e in after}, {"grad"})

    def test_all_of_a_closure_is_recorded_as_the_passes_that_it_is(self):
        def program():
            model = nn.Linear(6, 3)
            optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
            x = torch.randn(4, 6)

            def closure():
                optimizer.zero_grad()
                loss = (model(x).sinh() - 1).pow(2).mean()
                loss.backward()
                return loss

            for i in range(2):
                optimizer.step(closure) if i else optimizer.step(closure=closure)

        events = self.record("a", program)
        called = [(e["step"], e["phase"]) for e in events if e["op"] == "sinh"]
        self.assertEqual(set(called), {(1, "forward"), (2, "forward")})
        self.assertFalse([e for e in events if e["phase"] == "optimizer" and e["class"] == "ops"])
        updates = [e for e in events if e["kind"] == "param" and e["op"] == "lbfgs"]
        self.assertEqual({e["inputs"][0]["op"] for e in updates}, {"grad"})

    def test_training_in_another_thread_is_recorded(self):
        def train():
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(3):
                optimizer.zero_grad()
                loss_of(model).backward()
                optimizer.step()

        def program():
            thread = threading.Thread(target=train)
            thread.start()
            thread.join()
            torch.ones(3).sinh()  # by the thread that began: not of the training

        torch.manual_seed(1)
        train()
        after = torch.rand(1)
        events = self.record("a", program)
        self.assertTrue(torch.equal(torch.rand(1), after))
        self.assertEqual(self.steps_of_losses(events), [1, 2, 3])
        self.assertTrue([e for e in events if e["op"] == "addmm" and e["step"] == 3])
        self.assertFalse([e for e in events if e["op"] == "sinh"])
        self.record("b", program)
        self.assert_same("a", "b")

    def test_what_other_threads_train_besides_is_named_in_the_scope(self):
        def program(more):
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            loss_of(model).backward()
            if more:
                thread = threading.Thread(target=lambda: model(torch.ones(1, 6)))
                thread.start()
                thread.join()
            optimizer.step()

        for more in (False, True):
            events = self.record(str(more), lambda: program(more))
            marks = [e for e in events if "other threads" in (e.get("text") or "")]
            self.assertEqual(len(marks), int(more))

    def test_memory_that_nobody_wrote_is_not_compared(self):
        libc = ctypes.CDLL(None)
        lengths = (torch.tensor([5, 3]), torch.tensor([2, 1]))

        def program():
            scores = torch.randn(5, 2, 4, requires_grad=True)
            F.ctc_loss(scores.log_softmax(-1), torch.tensor([[1, 2], [3, 0]]), *lengths).backward()
            F.pad(torch.randn(1, 1, 5, 5), (1, 2, 2, 1), mode="circular").sum()

        try:
            for name, filled in (("a", 85), ("b", 204)):
                libc.mallopt(_PERTURB, filled)
                events = self.record(name, program)
        finally:
            libc.mallopt(_PERTURB, 0)
        self.assert_same("a", "b")
        self.assertTrue([e for e in events if e["op"] == "_ctc_loss" and e["hash"]])
        padded = [e for e in events if e["op"] == "copy_" and e["slot"] == "out"]
        self.assertEqual({bool(e["hash"]) for e in padded}, {True, False})

    def test_freed_memory_is_not_read(self):
        def program():
            whole = torch.arange(64.0)
            parts = [whole[2:8], whole.view(8, 8).t(), whole.view(8, 8)]
            storage = getattr(whole, "untyped_storage", whole.storage)()
            storage.resize_(0)
            results.append([tuple(torch.empty_like(part).shape) for part in parts])
            storage.resize_(4 * 16)
            torch.zeros_like(parts[1])
            whole[:4].fill_(2.0).sum()
            results.append(tuple(torch.cos(Wrapped()).shape))

        results = []
        program()
        events = self.record("a", program)
        self.record("b", program)
        self.assert_same("a", "b")
        self.assertEqual(results[:2], results[2:4])
        self.assertTrue([e for e in events if e["op"] == "sum" and e["hash"]])

    def test_outputs_wherever_they_lie_are_read_without_python(self):
        def program():
            for count in (3, 1000, 1 << 20):  # below the heap's end, and in mappings of their own
                (torch.ones(count) * 2).sum()
            torch.ones(3, 2).t() + 1  # not in rows: of this a copy has to be made

        looked, look = [], core.look
        core.look = lambda tensor, left_out: looked.append(tuple(tensor.shape)) or look(
            tensor, left_out)
        try:
            self.record("a", program)
        finally:
            core.look = look
        if core.fast is not None:
            self.assertEqual(looked, [(2, 3)])

    def test_workers_generators_are_recorded_with_their_batches(self):
        class Numbers(torch.utils.data.Dataset):
            def __len__(self):
                return 12

            def __getitem__(self, i):
                return torch.rand(2) + random.random()

        def program(init=None):
            loader = torch.utils.data.DataLoader(Numbers(), 3, num_workers=2, worker_init_fn=init,
                                                 generator=torch.Generator().manual_seed(4))
            batches.append(list(loader) + list(loader))

        batches = []
        program()
        events = self.record("a", program)
        self.record("b", program)
        self.record("c", lambda: program(lambda worker: torch.manual_seed(5)))
        self.assertTrue(all(map(torch.equal, batches[0], batches[1])))
        self.assert_same("a", "b")
        self.assertEqual(self.diff("a", "c")["first"]["path"], "worker0.torch")
        drawn = [e for e in events if e["op"] == "fetch"]
        self.assertEqual([e["path"] for e in drawn[:4]],
                         ["worker0.torch", "worker0.python", "worker1.torch", "worker1.python"])
        self.assertEqual(len(drawn), 16)
        self.assertNotEqual(drawn[0]["key"], drawn[2]["key"])

    def test_recordings_of_other_steps_name_the_same_inputs(self):
        def program():
            model = nn.Sequential(nn.Embedding(9, 6), nn.Flatten(), nn.BatchNorm1d(12),
                                  nn.Linear(12, 6), nn.Linear(6, 9, bias=False))
            model[4].weight = model[0].weight
            extra = nn.Parameter(torch.ones(9))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            second = torch.optim.Adam([extra], lr=0.1)
            for i in range(4):
                optimizer.zero_grad()
                F.cross_entropy(model(torch.randint(0, 9, (4, 2))) * extra,
                                torch.tensor([1, 2, 3, 4])).backward()
                optimizer.step()
                if i == 0:
                    second.step()

        self.record("all", program)
        for window in ("2", "1,3", "4"):
            with self.subTest(window):
                self.record("some", program, ops_steps=window)
                self.assert_same("all", "some")
                self.assert_same("some", "all")

    def test_states_that_pytorch_puts_back_are_no_checkpoint(self):
        def program():
            with torch.random.fork_rng():
                torch.rand(2)
            x = torch.ones(2, requires_grad=True)
            torch.utils.checkpoint.checkpoint(lambda y: F.dropout(y, 0.5), x,
                                              use_reentrant=True).sum().backward()
            torch.set_rng_state(torch.get_rng_state())

        import torch.utils.checkpoint
        events = self.record("a", program)
        self.assertEqual([e["op"] for e in events if e["kind"] == "checkpoint"], ["set_rng_state"])


if __name__ == "__main__":
    recording.Case.firstbit = os.path.abspath(sys.argv.pop(1))
    torch.set_num_threads(1)
    unittest.main()
