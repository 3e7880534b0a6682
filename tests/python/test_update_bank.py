# SPDX-License-Identifier: Apache-2.0
"""The optimizer bank on recorded contents: a hand-written AdamW and SGD beside PyTorch's own.

usage: test_update_bank.py FIRSTBIT
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

FIRSTBIT = sys.argv.pop(1) if len(sys.argv) > 1 else "firstbit"

PROGRAM = """
import torch
variant, base = VARIANT
torch.manual_seed(1)
model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
Base = torch.optim.AdamW if base == "adamw" else torch.optim.SGD

class Own(Base):
    @torch.no_grad()
    def step(self, closure=None):
        group, = self.param_groups
        lr, wd = group["lr"], group["weight_decay"]
        for p in group["params"]:
            (self.adamw if base == "adamw" else self.sgd)(p, p.grad, self.state[p], group, lr, wd)

    def adamw(self, p, g, s, group, lr, wd):
        b1, b2 = group["betas"]
        if not s:
            s.update(step=torch.tensor(0.), exp_avg=torch.zeros_like(p),
                     exp_avg_sq=torch.zeros_like(p))
        s["step"] += 1
        t = s["step"].item()
        if variant != "decay-after":
            p.mul_(1 - lr * wd)
        m, v = s["exp_avg"].mul_(b1).add_(g, alpha=1 - b1), s["exp_avg_sq"]
        v.mul_(b2).addcmul_(g, g, value=1 - b2)
        bc1, bc2 = 1 - b1 ** t, 1 - b2 ** t
        if variant == "eps-inside":
            d = (v / bc2 + group["eps"]).sqrt()
        else:
            d = (v.sqrt() / bc2 ** 0.5).add_(group["eps"])
        p.addcdiv_(m, d, value=-lr / bc1)
        if variant == "decay-after":
            p.mul_(1 - lr * wd)

    def sgd(self, p, g, s, group, lr, wd):
        g = g + wd * p
        if "momentum_buffer" not in s:
            s["momentum_buffer"] = g.clone()
        else:
            s["momentum_buffer"].mul_(0.9).add_(g, alpha=0.1 if variant == "dampened" else 1)
        p.add_(s["momentum_buffer"], alpha=-lr)

options = {"eps": 1e-6} if base == "adamw" else {"momentum": 0.9}
kind = Base if variant == "torch" else Own
opt = kind(model.parameters(), lr=0.05, weight_decay=0.1, **options)
for i in range(4):
    x, y = torch.randn(5, 6), torch.randint(0, 3, (5,))
    loss = torch.nn.functional.cross_entropy(model(x), y)
    opt.zero_grad(); loss.backward(); opt.step()
"""


class UpdateBank(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory(prefix="firstbit-bank-")
        for base in ("adamw", "sgd"):
            cls.record("torch", base)

    @classmethod
    def tearDownClass(cls):
        cls.place.cleanup()

    @classmethod
    def record(cls, variant, base):
        with open(os.path.join(cls.place.name, "program.py"), "w", encoding="utf-8") as file:
            file.write(PROGRAM.replace("VARIANT", repr((variant, base))))
        subprocess.run([FIRSTBIT, "record", "--level", "values", "-o",
                        "%s-%s.fbt" % (variant, base), "--", sys.executable, "program.py"],
                       cwd=cls.place.name, check=True, capture_output=True, timeout=300)

    def cause(self, variant, base):
        self.record(variant, base)
        result = subprocess.run([FIRSTBIT, "diff", "--json", "torch-%s.fbt" % base,
                                 "%s-%s.fbt" % (variant, base)], cwd=self.place.name, text=True,
                                check=False, capture_output=True, timeout=300)
        return json.loads(result.stdout)["cause"]

    def test_each_formula_is_named(self):
        for variant, base, name in (("eps-inside", "adamw", "adam-eps-inside-root"),
                                    ("decay-after", "adamw", "adam-decay-after"),
                                    ("dampened", "sgd", "sgd-dampened")):
            cause = self.cause(variant, base)
            self.assertEqual((cause["name"], cause["confidence"]), ("optimizer-formula", "likely"))
            self.assertIn(name, cause["text"])
            self.assertTrue(cause["text"].startswith("in b "), cause["text"])

    def test_the_usual_formula_in_other_words_is_not_blamed(self):
        cause = self.cause("same", "adamw") or {"text": ""}
        self.assertNotIn("(as ", cause["text"])


if __name__ == "__main__":
    unittest.main()
