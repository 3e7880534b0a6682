#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draws of NumPy's and Python's generators: the global ones, and the program's own.

usage: test_host_draws.py FIRSTBIT [unittest arguments]    the library: FIRSTBIT_LIBRARY
"""

import os
import random
import sys
import tempfile
import unittest

import numpy as np
import torch
import torch.nn as nn

from recording import Case, line_of


def train(batch, steps=4):
    """Steps of a small model on what batch(step) gives."""
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(1, steps + 1):
        x = torch.from_numpy(np.asarray(batch(step), np.float32))
        optimizer.zero_grad()
        model(x).pow(2).mean().backward()
        optimizer.step()


def drawn(events, **wanted):
    return [e for e in events if e["kind"] == "draw" and e["op"] == "draw" and
            not e["path"].startswith("torch") and
            all(e.get(name) == value for name, value in wanted.items())]


class HostDraws(Case):
    def program(self, seed=7, scale=1.0, more=0, python_seed=9):
        np.random.seed(2)
        random.seed(3)
        rng = np.random.default_rng(seed)
        old = np.random.RandomState(3)
        made = np.random.Generator(np.random.PCG64(5))
        own = random.Random(python_seed)

        def batch(step):
            if step == more:
                rng.normal(size=5)  # once more
            x = rng.normal(0, scale if step == 2 else 1.0, (8, 4))
            x += old.rand(8, 4) + made.uniform(size=4) + np.random.randn(4)
            order = [0, 1, 2, 3]
            own.shuffle(order)
            return x[:, order] * random.gauss(0, 1)

        train(batch)

    def test_each_draw_is_an_event_with_its_generator_distribution_and_line(self):
        events = self.record("a", self.program, ops_steps=None)
        told = [(e["path"], e["distribution"], int(e["count"]), e["algorithm"])
                for e in drawn(events, step=2)]
        self.assertEqual(told, [
            ("numpy.generator0", "normal", 32, "pcg64"),
            ("numpy.generator1", "rand", 32, "mt19937"),
            ("numpy.generator2", "uniform", 4, "pcg64"),
            ("numpy", "randn", 4, "mt19937"),
            ("python.generator0", "shuffle", 4, "mt19937"),
            ("python", "gauss", 1, "mt19937")])
        first = drawn(events, step=2, path="numpy.generator0")[0]
        line = line_of(self.program, "x = rng.normal(")
        self.assertIn(f"{os.path.basename(__file__)}:{line}", first["stack"])
        self.assertEqual(len({e["key"] for e in drawn(events, path="numpy.generator0")}), 4)
        seeds = [(e["path"], e["op"]) for e in events if e["kind"] == "seed"]
        self.assertEqual(seeds, [("numpy", "seed"), ("python", "seed"),
                                 ("numpy.generator0", "seed"), ("python.generator0", "seed"),
                                 ("numpy.generator1", "begins"), ("numpy.generator2", "begins")])
        self.record("b", self.program, ops_steps=None)
        self.assert_same("a", "b")

    def test_what_differs_is_named_at_its_line(self):
        self.record("a", self.program, ops_steps=None)
        for name, cause, text, line in (
                ("seed", "rng-seed", "7 | 8", "rng = np.random.default_rng"),
                ("more", "rng-offset", "numpy.generator0", "rng.normal(size=5)"),
                ("scale", "forward-op", "normal(0, 1) | (0, 2)", "x = rng.normal("),
                ("python_seed", "data-order", "9 | 10", "own = random.Random")):
            with self.subTest(name):
                other = {"seed": 8, "more": 3, "scale": 2.0, "python_seed": 10}[name]
                self.record("b", lambda: self.program(**{name: other}), ops_steps=None)
                found = self.diff("a", "b")
                self.assertEqual((found["verdict"], found["cause"]["name"]), ("differ", cause))
                self.assertIn(text, found["cause"]["text"])
                stacks = found["first"].get("stack_b") or found["first"]["stack_a"]
                self.assertIn(f"{os.path.basename(__file__)}:{line_of(self.program, line)}",
                              stacks)

    def test_a_generator_without_a_seed_is_named(self):
        for name, call in (("seed", "numpy.random.default_rng()"), ("python_seed",
                                                                     "random.Random()")):
            with self.subTest(name):
                for recording in "ab":
                    events = self.record(recording, lambda: self.program(**{name: None}),
                                         ops_steps=None)
                stream = "numpy.generator0" if name == "seed" else "python.generator0"
                self.assertTrue(all(e["class"] == "notes" for e in drawn(events, path=stream)))
                found = self.diff("a", "b")
                self.assertEqual((found["verdict"], found["cause"]["name"]),
                                 ("differ", "rng-seed"))
                self.assertIn(call, found["cause"]["text"])

    def test_a_draw_in_a_step_without_ops_is_known_by_its_generator_and_step(self):
        self.record("a", self.program)
        self.record("b", lambda: self.program(more=3))
        found = self.diff("a", "b")
        self.assertEqual((found["verdict"], found["first"]["step"]), ("differ", 3))
        self.assertEqual(found["cause"]["name"], "rng-offset")
        self.assertIn("numpy.generator0", found["cause"]["text"])

    def test_nothing_is_changed_and_no_call_is_harmed(self):
        class Halves(random.Random):
            def random(self):
                return 0.5

        def calls():
            rng, own, none = np.random.default_rng(1), random.Random(2), random.SystemRandom()
            out = [rng.choice(["a", "b"]), rng.integers(9, size=3).tolist(), rng.bytes(4),
                   own.choice("xyz"), own.sample(range(9), 3), own.choices([1, 2], k=3),
                   own.getrandbits(70), own.betavariate(1, 2), Halves(3).random(),
                   Halves(3).choice([1, 2, 3]), np.random.rand(), np.random.permutation(4).tolist(),
                   np.random.default_rng(rng) is rng, rng.permuted([1, 2, 3]).tolist(),
                   np.random.Generator(np.random.Philox(4)).random(),
                   np.random.Generator(np.random.SFC64(4)).standard_normal(2).tolist(),
                   rng.random(2, dtype=np.float32).tolist(), random.random(), random.randbytes(2)]
            none.shuffle([1, 2, 3])
            with self.assertRaises(ValueError):
                rng.choice(3, size=4, replace=False)
            with self.assertRaises(TypeError):
                random.Random([])
            with tempfile.TemporaryDirectory():  # draws from a generator of Python's own library
                pass
            return out

        np.random.seed(2)
        random.seed(3)
        methods = vars(np.random.Generator)["normal"], random.Random.shuffle, np.random.rand
        expected = calls()
        got = []
        events = self.record("a", lambda: (got.append(calls()),
                                           train(lambda step: np.ones((2, 4)))), ops_steps=None)
        self.assertEqual(got[0], expected)
        own = [e["distribution"] for e in drawn(events, path="python.generator0")]
        self.assertEqual(own, ["choice", "sample", "choices", "getrandbits", "betavariate"])
        self.assertEqual({e["path"] for e in drawn(events)} - {"numpy", "python"}, {
            "python.generator0", "python.generator2",
            "numpy.generator0", "numpy.generator1", "numpy.generator2"})
        self.assertEqual(methods, (vars(np.random.Generator)["normal"], random.Random.shuffle,
                                   np.random.rand))

    def test_many_generators_and_draws_are_bounded(self):
        def program():
            for i in range(40):
                np.random.default_rng(i).random()
            own = random.Random(1)
            train(lambda step: [[own.random() for _ in range(4)] for _ in range(50)])

        events = self.record("a", program, ops_steps=None)
        self.assertEqual({e["path"] for e in drawn(events, step=0)} - {"numpy", "python"},
                         {f"numpy.generator{i}" for i in range(16)} | {"python.generator0"})
        self.assertEqual(len(drawn(events, step=2)), 64)
        self.record("b", program, ops_steps=None)
        self.assert_same("a", "b")


if __name__ == "__main__":
    Case.firstbit = os.path.abspath(sys.argv.pop(1))
    unittest.main()
