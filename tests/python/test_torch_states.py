#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""States of generators, of what was learned and of gradients, in steps that record no operation too.

usage: test_torch_states.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import copy
import ctypes
import os
import random
import sys
import unittest

import numpy as np
import torch
import torch.nn as nn

import firstbit
import firstbit.torch
from recording import Case, line_of


class Generators(Case):
    """A program that seeds and restores generators late, in steps without operations."""

    def program(self, without=""):
        own = torch.Generator()
        own.manual_seed(4)
        random.seed(5)
        np.random.seed(6)
        model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        saved = (torch.get_rng_state(), own.get_state(), random.getstate(), np.random.get_state())
        for step in range(1, 9):
            if step == 5:
                if without != "torch":
                    torch.set_rng_state(saved[0])
                if without != "torch.generator0":
                    own.set_state(saved[1])
                if without != "python":
                    random.setstate(saved[2])
                if without != "numpy":
                    np.random.set_state(saved[3])
            if step == 7:
                own.manual_seed(14 if without != "number" else 15)
                np.random.seed([1, 2])
                random.seed("a text")
                torch.random.manual_seed(9)
            if step == 8:  # where they stand already
                torch.set_rng_state(torch.get_rng_state())
                own.set_state(own.get_state())
                random.setstate(random.getstate())
                np.random.set_state(np.random.get_state())
                with torch.random.fork_rng():
                    torch.rand(1)
            x = torch.randn(5, 3, generator=own) * random.random() + np.random.rand()
            optimizer.zero_grad()
            model(x).pow(2).mean().backward()
            optimizer.step()

    def test_seeds_and_restored_states_are_events_of_every_step_with_their_lines(self):
        events = self.record("a", self.program)
        told = [(e["step"], e["path"], e["op"]) for e in events if e["kind"] == "seed"]
        streams = ["torch", "torch.generator0", "python", "numpy"]
        self.assertEqual(told, [
            (0, "torch.generator0", "seed"), (0, "python", "seed"), (0, "numpy", "seed"),
            *[(5, stream, "set_state") for stream in streams],
            (7, "torch.generator0", "seed"), (7, "numpy", "set_state"),
            (7, "python", "set_state"), (7, "torch", "seed")])
        late = {(e["path"], e["op"]): e["stack"] for e in events
                if e["kind"] == "seed" and e["step"] > 0}
        for stream, text in zip(streams, ("torch.set_rng_state(saved", "own.set_state(saved",
                                          "random.setstate(saved", "np.random.set_state(saved")):
            if stream in ("torch", "torch.generator0"):
                self.assertIn(f"{os.path.basename(__file__)}:{line_of(self.program, text)}",
                              late[stream, "set_state"])
        self.record("b", self.program)
        self.assert_same("a", "b")

    def test_one_that_is_left_out_is_found_at_its_line(self):
        self.record("a", self.program)
        for without, step in (("torch", 5), ("torch.generator0", 5), ("python", 5), ("numpy", 5),
                              ("number", 7)):
            with self.subTest(without):
                self.record("b", lambda: self.program(without))
                found = self.diff("a", "b")
                self.assertEqual((found["verdict"], found["first"]["step"]), ("differ", step))
                self.assertEqual(found["cause"]["name"], "rng-seed")
                self.assertIn(os.path.basename(__file__), found["first"]["stack_a"])
                if without != "number":
                    self.assertIn(without, found["cause"]["text"])

    def test_a_draw_that_no_operation_tells_is_known_by_its_generator_and_step(self):
        def program(more=""):
            own = torch.Generator()
            own.manual_seed(4)
            model = nn.Linear(3, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for step in range(1, 7):
                if step == 5 and more:
                    torch.rand(1, generator=own if more == "torch.generator0" else None)
                noise = torch.rand(3, generator=own) + torch.rand(3)
                optimizer.zero_grad()
                model(noise).sum().backward()
                optimizer.step()

        events = self.record("a", program)
        told = [(e["step"], e["path"]) for e in events if e["op"] == "state" and e["step"] in (3, 4)
                and e["path"].startswith("torch")]
        self.assertEqual(told, [(step, stream) for step in (3, 4)
                                for stream in ("torch", "torch.generator0")])
        for stream in ("torch", "torch.generator0"):
            with self.subTest(stream):
                self.record("b", lambda: program(stream))
                found = self.diff("a", "b")
                self.assertEqual((found["verdict"], found["first"]["step"]), ("differ", 5))
                self.assertIn(stream, found["cause"]["text"])

    def test_a_generator_has_one_name_whether_it_is_seeded_or_drawn_from_first(self):
        def program():
            first, second = torch.Generator(), torch.Generator()
            second.manual_seed(9)  # the number of the one that is met first
            torch.randperm(4, generator=first)
            for generator in (first, second):
                torch.rand(2, generator=generator)
            first.set_state(second.get_state())
            second.seed()

        events = self.record("a", program, ops_steps=None)
        self.assertEqual([(e["kind"], e["path"], e["op"]) for e in events
                          if e["path"].startswith("torch.generator") and e["op"] != "state"],
                         [(kind, f"torch.generator{number}", op) for kind, number, op in (
                             ("seed", 0, "seed"), ("draw", 1, "draw"), ("draw", 1, "draw"),
                             ("draw", 0, "draw"), ("seed", 1, "set_state"), ("seed", 0, "seed"))])

    def test_nothing_is_replaced_for_longer_than_the_recording(self):
        def held():
            return [vars(torch._C.Generator)[name] for name in ("manual_seed", "seed", "set_state")
                    ] + [torch.manual_seed, torch.random.manual_seed, torch.set_rng_state,
                         torch.random.set_rng_state, torch.seed, random.seed, random.setstate,
                         np.random.seed, np.random.set_state]
        before = held()
        self.record("a", lambda: self.assertNotEqual(held(), before))
        self.assertEqual(held(), before)

    def test_what_was_never_seeded_is_put_back_as_a_note(self):
        def program():
            torch.nn.Linear(1, 1)
            state = random.getstate()
            random.random()
            random.setstate(state)

        with firstbit.torch.record(self.path("a")):
            program()
        with firstbit.open(self.path("a")) as trace:
            notes = [e["class"] for e in trace if e["op"] == "set_state"]
        self.assertEqual(notes, ["notes"])


class Results(Case):
    """Evaluations in steps without operations."""

    def program(self, what=""):
        model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        held = torch.randn(6, 3)
        for step in range(1, 7):
            optimizer.zero_grad()
            model(torch.randn(5, 3)).pow(2).mean().backward()
            optimizer.step()
            if step % 3 == 0:
                model.eval()
                with torch.no_grad():
                    for i in range(3 if what == "more often" and step == 6 else 2):
                        x = held[3 * (i % 2):3 * (i % 2) + 3]
                        if what == "data" and step == 3:
                            x = x * 2
                        (other if what == "net" and step == 6 else model)(
                            x.clone() if what == "clone" else x)
                model.train()

    def test_what_models_give_in_evaluations_is_a_note_of_steps_without_operations(self):
        events = self.record("a", self.program)
        found = [(e["step"], e["path"], e["slot"], e["class"], tuple(e["shape"]), e["stack"] != "")
                 for e in events if e["op"] == "result"]
        self.assertEqual(found, [(step, "Sequential", "out", "notes", (3, 1), True)
                                 for step in (4, 4, 7, 7)])

    def test_an_evaluation_that_differs_is_found_and_an_equal_one_is_the_same(self):
        self.record("a", self.program)
        for what, step in (("data", 4), ("clone", None), ("more often", None)):
            with self.subTest(what):
                self.record("b", lambda: self.program(what))
                found = self.diff("a", "b")
                if step is None:
                    self.assertEqual(found["verdict"], "same", found)
                else:
                    self.assertEqual((found["verdict"], found["first"]["step"]), ("differ", step))
                    self.assertEqual(found["first"]["op"], "result")
                    self.assertIn(os.path.basename(__file__), found["first"]["stack_a"])

    def test_a_step_tells_so_many_results_and_no_more(self):
        def acts():
            model = nn.Linear(2, 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(3):
                with torch.no_grad():
                    for _ in range(100):
                        model(torch.ones(2))
                optimizer.zero_grad()
                model(torch.ones(2)).sum().backward()
                optimizer.step()

        events = self.record("a", acts)
        told = [e["step"] for e in events if e["op"] == "result"]
        self.assertEqual((told.count(2), told.count(3)), (64, 64))


class Spare(nn.Module):
    """Gives memory besides that nobody wrote to: what lies there is `garbage`."""

    def __init__(self, held, garbage, fill):
        super().__init__()
        self.net, self.garbage, self.fill = nn.Linear(2, 1), garbage, fill
        self.held = self.memory() if held else None

    def memory(self):
        memory = torch.empty(6)
        if self.fill:
            memory.fill_(self.garbage)
        else:
            ctypes.memset(memory.data_ptr(), self.garbage, 24)
        return memory

    def forward(self, x):
        return self.net(x), self.memory() if self.held is None else self.held[2:]


class Undefined(Case):
    def program(self, garbage, held, fill=False):
        model = Spare(held, garbage, fill)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(1, 5):
            if step != 2 and not (held and step == 1):
                with torch.no_grad():
                    model(torch.ones(3, 2))
            optimizer.zero_grad()
            model(torch.ones(3, 2))[0].sum().backward()
            optimizer.step()

    def test_memory_that_an_evaluation_gives_unwritten_has_no_hash(self):
        for held in (False, True):
            with self.subTest(held=held):
                events = self.record("a", lambda: self.program(1, held))
                told = [(e["step"], e["slot"], e["undefined"], e["hash"] is None)
                        for e in events if e["op"] == "result"]
                self.assertEqual(told, [(step, slot, slot == "out1", slot == "out1")
                                        for step in (3, 4) for slot in ("out", "out1")])
                self.record("b", lambda: self.program(2, held))
                self.assert_same("a", "b")

    def test_what_an_evaluation_gives_written_has_one(self):
        for held in (False, True):
            with self.subTest(held=held):
                for name, number in (("a", 1), ("b", 2)):
                    events = self.record(name, lambda: self.program(number, held, True),
                                         ops_steps="1")
                    self.assertTrue(all(e["hash"] for e in events if e["op"] == "result"))
                self.assertEqual(self.diff("a", "b")["verdict"], "differ")


class Updates(Case):
    def test_a_sparse_gradient_is_recorded_by_its_rows_and_values(self):
        def program(rows=10):
            table = nn.Embedding(10, 4, sparse=True)
            optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
            for step in range(3):
                x = torch.arange(5) * 3 % (rows if step == 1 else 10)
                optimizer.zero_grad()
                table(x).sum().backward()
                optimizer.step()

        events = self.record("a", program, ops_steps=None)
        grads = [e for e in events if e["op"] == "grad" and e["step"] == 2]
        self.assertEqual([(e["slot"], e["shape"]) for e in grads],
                         [("grad.indices", [1, 5]), ("grad", [5, 4])])
        self.assertTrue(all(e["hash"] for e in grads))
        update = next(e for e in events if e["kind"] == "param" and e["step"] == 2)
        self.assertIn("grad", [named["slot"] for named in update["inputs"]])
        self.assertIn("grad.indices", [named["slot"] for named in grads[1]["inputs"]])
        self.record("b", program, ops_steps=None)
        self.assert_same("a", "b")
        self.record("c", lambda: program(4), ops_steps=None)
        found = self.diff("a", "c")
        self.assertEqual(found["verdict"], "differ")
        self.assertNotEqual(found["cause"]["name"], "optimizer-formula")

    def test_a_copy_of_a_module_leaves_it_what_it_was_and_is_made_from_it(self):
        def program():
            model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
            model[0].register_buffer("scale", torch.randn(4))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(3):
                twin = copy.deepcopy(model).eval()
                x = torch.randn(8, 4)
                with torch.no_grad():
                    target = twin(x) * twin[0].scale
                optimizer.zero_grad(set_to_none=True)
                (model(x) - target).pow(2).mean().backward()
                optimizer.step()

        events = [e for e in self.record("a", program, ops_steps=None) if e["step"] > 1]
        # What is multiplied by is a copy of what the model has, not something from outside.
        scaled = [e for e in events if e["op"] == "mul" and e["phase"] == "forward"]
        self.assertEqual([[named["op"] for named in e["inputs"]] for e in scaled],
                         [["native_batch_norm", "copy_"]] * 2)
        entered = [(e["op"], e["slot"]) for e in events if e["slot"].startswith("in")
                   and e["phase"] == "forward" and e["op"] != "new_empty"]
        self.assertEqual(set(entered), {("clone", "in0")})
        # The model's own parameters are read as what the last update made of them.
        layers = [e for e in events if e["op"] == "addmm" and e["slot"] == "out"]
        self.assertEqual([{named["op"] for named in e["inputs"]} for e in layers],
                         [{"clone", "randn"}, {"sgd", "randn"}] * 2)
        self.record("b", program, ops_steps=None)
        self.assert_same("a", "b")

    def test_what_is_read_through_data_is_made_from_the_parameter(self):
        def program():
            model = nn.Linear(4, 1)
            for _ in range(3):
                model(torch.ones(2, 4)).sum().backward()
                for parameter in model.parameters():
                    parameter.data -= 0.1 * parameter.grad
                    parameter.grad = None

        events = self.record("a", program, ops_steps=None)
        entered = [e for e in events if e["op"] == "sub_" and e["slot"] == "in0" and e["step"] > 1]
        self.assertEqual([[(named["op"], named["step"]) for named in e["inputs"]] for e in entered],
                         [[("update", e["step"] - 1)] for e in entered])
        self.assertEqual(len(entered), 4)
        maker = {(e["step"], e["path"]): e["hash"] for e in events if e["op"] == "update"}
        self.assertEqual([e["hash"] for e in entered],
                         [maker[e["step"] - 1, e["inputs"][0]["path"]] for e in entered])
        self.record("b", program, ops_steps=None)
        self.assert_same("a", "b")

    def test_what_is_computed_without_gradients_behind_the_pass_is_the_update(self):
        """Without modules and optimizers; and the next forward pass is none."""
        def program(grad):
            weight = torch.ones(4, 1, requires_grad=True)
            for _ in range(3):
                loss = (torch.ones(8, 4) @ weight).pow(2).mean()
                if grad:
                    (gradient,) = torch.autograd.grad(loss, [weight])
                else:
                    loss.backward()
                    gradient = weight.grad
                with torch.no_grad():
                    weight -= 0.1 * gradient
                weight.grad = None

        for grad in (False, True):
            with self.subTest(grad=grad):
                events = self.record("a", lambda: program(grad), ops_steps=None)
                phases = {e["op"]: e["phase"] for e in events
                          if e["step"] == 2 and e["slot"] == "out" and e["op"] in (
                              "sub_", "mean", "ones")}
                self.assertEqual(phases, {"sub_": "optimizer", "mean": "forward",
                                          "ones": "forward"})


if __name__ == "__main__":
    Case.firstbit = os.path.abspath(sys.argv.pop(1))
    unittest.main()
