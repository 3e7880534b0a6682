#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Code as people publish it: compiled functions, optimizers around optimizers, threads of the
program's own; and what a trace says when the recorder fails.

usage: test_torch_code.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import contextlib
import io
import os
import subprocess
import sys
import threading
import unittest
import unittest.mock

import torch
import torch.nn as nn
import torch.nn.functional as F

import firstbit
import firstbit.torch
import recording
from firstbit.torch.session import Session

FIRSTBIT = ""


def run(*arguments):
    done = subprocess.run([FIRSTBIT, *arguments], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def net():
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 3))


def bits(model):
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


class Case(recording.Case):
    def record(self, name, program, **options):
        options.setdefault("ops_steps", None)
        return super().record(name, program, **options)


class Faults(Case):
    def fail_at(self, name, turn):
        original, calls = Session.loss, []

        def fails(session, tensors):
            calls.append(1)
            if len(calls) == turn:
                raise TypeError("planted\nhere")
            return original(session, tensors)

        def program():
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(4):
                optimizer.zero_grad()
                model(torch.ones(2, 6)).sum().backward()
                optimizer.step()

        told = io.StringIO()
        environment = {k: v for k, v in os.environ.items() if k != "FIRSTBIT_DEBUG"}
        with unittest.mock.patch.object(Session, "loss", fails), contextlib.redirect_stderr(
                told), unittest.mock.patch.dict(os.environ, environment, clear=True):
            self.record(name, program)
        self.assertEqual(told.getvalue(),
                         "firstbit: recording ends here: TypeError: planted here\n")

    def test_a_recording_that_its_own_fault_ended_is_never_the_same(self):
        for turn, through in ((1, 0), (3, 2)):
            self.fail_at("a", turn)
            self.fail_at("b", turn)
            with self.subTest(turn):
                status, out, _ = run("diff", self.path("a"), self.path("b"))
                self.assertEqual(status, 3)
                self.assertIn("the recorder failed: TypeError: planted here", " ".join(out.split()))
                self.assertIn(f"equal through step {through}", " ".join(out.split()))
                self.assertNotIn("nothing left", out)
                status, out, err = run("verify", self.path("a"))
                self.assertEqual(status, 1)
                self.assertIn(": full: ", out)
                self.assertIn("recording stopped: the recorder failed: TypeError", err)
                self.assertIn("full: the recorder failed", run("info", self.path("a"))[1])
                self.assertIn("full: the recorder failed", run("show", self.path("a"))[2])


class Around(torch.optim.Optimizer):
    """Around another, whose __init__ is not called: as Lookahead is published."""

    def __init__(self, inner):
        self.inner, self.param_groups = inner, inner.param_groups
        self.state, self.defaults = inner.state, inner.defaults

    def zero_grad(self):
        self.inner.zero_grad()

    def step(self, closure=None):
        loss = self.inner.step(closure)
        for parameter in self.param_groups[0]["params"]:
            parameter.data.mul_(0.5)
        return loss


class ByHand(torch.optim.Optimizer):
    """All of its own, and its base class knows nothing of it."""

    def __init__(self, parameters):
        self.param_groups, self.state, self.defaults = [{"params": list(parameters)}], {}, {}

    def step(self):
        for parameter in self.param_groups[0]["params"]:
            parameter.data.add_(parameter.grad, alpha=-0.1)


class Scaler(getattr(torch.amp, "GradScaler", torch.cuda.amp.GradScaler)):
    """One that is on without a GPU."""

    def __init__(self):
        super().__init__(enabled=False)

    def is_enabled(self):
        return True

    def get_scale(self):
        return 65536.0


class Steps(Case):
    def test_info_counts_updates_and_names_what_follows_the_last_one(self):
        def program(through):
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for i in range(4):
                optimizer.zero_grad()
                model(torch.ones(2, 6)).sum().backward()
                if i < through:
                    optimizer.step()

        self.record("b", lambda: program(3))
        for level in ("ops", "draws"):
            self.record(level, lambda: program(4), level=level)
            self.assertIn("steps          4 (1 to 4), and initialization, and what follows the last "
                          "update (step 5)\n", run("info", self.path(level))[1])
        self.assertIn("steps          4 (1 to 4), and initialization\n",
                      run("info", self.path("b"))[1])

    def test_what_is_made_ready_for_another_step_is_none(self):
        """Gradients are zeroed, the schedule and the scale of the loss go on behind the update."""
        def program(steps):
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
            scaler = Scaler()
            for _ in range(steps):
                model(torch.ones(2, 6)).sum().backward()
                optimizer.step()
                scaler.update()
                schedule.step()
                optimizer.zero_grad()

        self.record("a", lambda: program(4))
        self.assertIn("steps          4 (1 to 4), and initialization, and what follows the last "
                      "update (step 5)\n", run("info", self.path("a"))[1])
        self.record("b", lambda: program(6))
        status, out, err = run("diff", self.path("a"), self.path("b"))
        self.assertEqual(status, 3, out + err)
        self.assertIn("a ends first; equal through step 4", out)


class Optimizers(Case):
    def recorded(self, make):
        def program():
            model = net()
            optimizer = make(model.parameters())
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.ones(2, 6)).sum().backward()
                optimizer.step()

        events = self.record("a", program)
        names = [f"Sequential.{m}.{n}" for m in (0, 2) for n in ("weight", "bias")]
        for step in (1, 2, 3):
            with self.subTest(step):
                here = [e for e in events if e["step"] == step]
                self.assertEqual([e["path"] for e in here if e["op"] == "grad"], names)
                self.assertEqual([e["path"] for e in here if e["kind"] == "param"
                                  and e["phase"] == "optimizer" and e["slot"] == "param"], names)

    def test_an_optimizer_around_another_has_gradients_and_parameters(self):
        self.recorded(lambda parameters: Around(torch.optim.SGD(parameters, lr=0.1)))

    @unittest.skipIf(hasattr(torch, "compile"), "there an optimizer needs its base class")
    def test_so_has_one_whose_base_class_was_not_initialized(self):
        self.recorded(ByHand)


POOL = """import multiprocessing, sys

def work(i):
    import torch
    return float(torch.ones(2).sum()) + i

if __name__ == "__main__":
    import torch
    net = torch.nn.Linear(2, 1)
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        print(sum(pool.map(work, range(4), chunksize=1)))
"""


class Elsewhere(Case):
    def left_of(self, name):
        return " ".join(run("diff", self.path(name), self.path(name))[1].split())

    def test_workers_of_a_pool_are_named_and_have_no_trace(self):
        program = os.path.join(self.at, "pool.py")
        with open(program, "w", encoding="utf-8") as file:
            file.write(POOL)
        for method in ("spawn",):
            with self.subTest(method):
                done = subprocess.run([FIRSTBIT, "record", "-o", self.path(method), "--",
                                       sys.executable, program, method],
                                      capture_output=True, text=True, timeout=300)
                self.assertEqual((done.returncode, done.stdout), (0, "14.0\n"), done.stderr)
                self.assertEqual([n for n in os.listdir(self.at) if "process" in n], [])
                with firstbit.open(self.path(method)) as trace:
                    self.assertIn("not recorded: what the workers of process pools do",
                                  [e["text"] for e in trace if e["kind"] == "mark"])

    def test_what_threads_of_the_program_compute_is_named_by_diff(self):
        def program(in_thread):
            model = net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            ready = []
            work = lambda: ready.append(torch.ones(2, 6) * 3)  # noqa: E731
            for _ in range(2):
                if in_thread:
                    thread = threading.Thread(target=work)
                    thread.start()
                    thread.join()
                else:
                    work()
                optimizer.zero_grad()
                model(ready[-1]).sum().backward()
                optimizer.step()

        events = self.record("a", lambda: program(True))
        self.record("b", lambda: program(False))
        self.assertIn("not recorded: what threads that the program starts compute",
                      self.left_of("a"))
        self.assertNotIn("nothing left out", self.left_of("a"))
        self.assertIn("nothing left out", self.left_of("b"))
        read = [e for e in events if e["op"] == "addmm" and e["slot"] == "in1"]
        self.assertTrue(read and all(e["hash"] for e in read))


@unittest.skipUnless(hasattr(torch, "compile"), "PyTorch 2")
class Compiled(Case):
    def program(self, how):
        """A model's training in which something is compiled; and what begins the recording."""
        torch._dynamo.reset()
        torch.manual_seed(1)
        backend = {"backend": "eager"}
        model = net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss = loss_of = lambda x: F.mse_loss(model(x), x[:, :3])
        called = model
        if how == "function":
            loss = torch.compile(loss_of, **backend)
        elif how in ("model", "whole model"):
            called = torch.compile(model, fullgraph=how == "whole model", **backend)
            loss = lambda x: F.mse_loss(called(x), x[:, :3])  # noqa: E731
        elif how == "in place" and hasattr(model, "compile"):
            model.compile(**backend)
        elif how == "method":
            model[0].forward = torch.compile(model[0].forward, **backend)
        before = torch.compile

        def train():
            inner = loss
            if how == "within":
                inner = torch.compile(loss_of, **backend)
            elif how == "by another name":
                inner = before(loss_of, **backend)
            for _ in range(3):
                optimizer.zero_grad()
                inner(torch.randn(4, 6)).backward()
                optimizer.step()
            counters = torch._dynamo.utils.counters
            return bits(model), dict(counters["frames"]), dict(counters["stats"])
        return called, optimizer, train

    def test_what_is_compiled_before_or_within_is_a_region_and_compiled_as_without(self):
        import torch._dynamo

        self.program("function")[2]()  # PyTorch compiles something of its own the first time
        for how in ("function", "model", "whole model", "in place", "method", "within",
                    "by another name"):
            with self.subTest(how):
                results = []
                for name in ("plain", "a", "b"):
                    torch._dynamo.utils.counters.clear()
                    model, optimizer, train = self.program(how)
                    torch.manual_seed(2)
                    with contextlib.nullcontext() if name == "plain" else firstbit.torch.record(
                            self.path(name), model=model, optimizer=optimizer, ops_steps=None):
                        results.append(train())
                self.assertEqual(results[0], results[1])
                self.assert_same("a", "b")
                with firstbit.open(self.path("a")) as trace:
                    regions = [e["step"] for e in trace if e["op"] == "compiled"
                               and e["slot"] == "out" and e["hash"] and e["inputs"]]
                self.assertEqual(regions, [1, 2, 3])

    def test_compiled_functions_are_as_they_were_when_the_recording_has_ended(self):
        function = torch.compile(lambda x: x + 1, backend="eager")
        before = torch.compile.__code__, function.__code__
        self.record("a", lambda: None)
        self.assertEqual((torch.compile.__code__, function.__code__), before)


if __name__ == "__main__":
    FIRSTBIT = recording.Case.firstbit = os.path.abspath(sys.argv.pop(1))
    torch.set_num_threads(1)
    unittest.main()
