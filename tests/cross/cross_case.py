# SPDX-License-Identifier: Apache-2.0
"""One training in two frameworks: an engine run, and the same model, weights and batches in PyTorch.

Weights and batches go over as values, never as names that the comparison could read.
"""
import json
import os
import re
import subprocess
import sys

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "torch"))

from program import read_events, run  # noqa: E402
from torch_twin import read_safetensors, write_safetensors  # noqa: E402

TEXT = os.path.join(HERE, "..", "..", "examples", "data", "lighthouse.txt")
DEFAULT = {"dim": 32, "heads": 4, "hidden": 128, "layers": 2, "context": 16, "gelu": "none",
           "lr": 3e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "clip": 1.0,
           "size": 8, "micro": 1, "steps": 4, "schedule": {"warmup": 2, "min_factor": 0.1},
           "seed": 42, "style": "torch", "bug": "", "weights_like_trained": True}


def configuration(c):
    return {
        "seed": c["seed"],
        "data": {"text": TEXT, "context": c["context"], "split": [0.9, 0.1]},
        "model": [
            {"embedding": {"dim": c["dim"], "positions": True}, "name": "embedding"},
            {"repeat": c["layers"], "name": "h", "layers": [
                {"name": "attn", "residual": [
                    {"name": "ln", "layernorm": {}},
                    {"name": "attention", "attention": {"heads": c["heads"], "causal": True}}]},
                {"name": "mlp", "residual": [
                    {"name": "ln", "layernorm": {}},
                    {"name": "fc", "linear": {"out": c["hidden"]}},
                    {"name": "gelu", "gelu": {"approximate": c["gelu"]}},
                    {"name": "proj", "linear": {"out": c["dim"]}}]}]},
            {"name": "ln", "layernorm": {}},
            {"name": "head", "linear": {"out": "vocab", "bias": False, "tied": "embedding"}}],
        "loss": "cross_entropy",
        "optimizer": {"adamw": {"lr": c["lr"], "betas": c["betas"], "eps": c["eps"],
                                "weight_decay": c["weight_decay"]}},
        "schedule": {"cosine": c["schedule"]} if c["schedule"] else "constant",
        "clip": c["clip"], "batch": {"size": c["size"], "micro": c["micro"]}, "steps": c["steps"]}


# What a path of the engine is called by torch_gpt.py, longest first.
NAMES = [("attn.attention.qkv", "attn.c_attn"), ("attn.attention.proj", "attn.c_proj"),
         ("attn.attention", "attn"), ("mlp.fc", "mlp.c_fc"), ("mlp.proj", "mlp.c_proj"),
         ("mlp.gelu", "mlp.act"), ("attn.ln", "ln_1"), ("mlp.ln", "ln_2"),
         ("embedding.weight", "wte.weight"), ("embedding.positions", "wpe.weight"),
         ("embedding", ""), ("head", "lm_head"), ("ln", "ln_f")]
SPLIT = ("attn.q_proj", "attn.k_proj", "attn.v_proj")
# How a slot of the engine is called by the recorder, where a parameter of that name has it.
SLOTS = {"parameter": "parameter", "exp_avg": "exp_avg", "exp_avg_sq": "exp_avg_sq",
         "grad.clip": "gradient"}


def parts_of(text):
    """step, phase, path, op, slot of a name as a report spells it."""
    words = [w for w in text.split(", ") if not w.startswith(("step", "micro"))]
    match = re.match(r"(?:(\S+) )?\((\S+)\)$", words[1]) if len(words) > 2 else None
    first = words[0].split(" (")
    if len(words) == 2:  # "backward (clone), output"
        return first[0], "", first[1].rstrip(")"), words[1]
    path, op = match.groups() if match else (words[1], "")
    return words[0], path or "", op, words[2]


def torch_path(path):
    """What the module or parameter is called in torch_gpt.py."""
    block = re.match(r"h\.(\d+)\.(.*)", path)
    prefix, rest = ("h.%s." % block.group(1), block.group(2)) if block else ("", path)
    for ours, theirs in NAMES:
        if rest == ours or rest.startswith(ours + "."):
            return prefix + theirs + rest[len(ours):]
    return prefix.rstrip(".")


def truth_of(pair):
    """Whether a pair is right: the same module or parameter, forward with forward."""
    phase_a, path_a, op_a, slot_a = parts_of(pair["a"])
    phase_b, path_b, _, slot_b = parts_of(pair["b"])
    expected = torch_path(path_a)
    if op_a in ("clip", "cosine", "cross_entropy") and path_a in ("clip", "lr", "loss"):
        return True  # scalars, losses of rows: there is one of each
    if slot_a in SLOTS:
        split = any(path_b == expected.replace("attn.c_attn", name) for name in SPLIT)
        return (path_b == expected or split) and slot_b == SLOTS[slot_a]
    if phase_a == "forward":
        if op_a == "residual":  # added in the block
            return path_b == expected.rsplit(".", 1)[0] or path_b == expected
        split = any(path_b == expected.replace("attn.c_attn", name) for name in SPLIT)
        return (path_b == expected or split) and phase_b == "forward"
    # Gradients: the recorder gives the op of a backward pass the path of a neighbour in the flow.
    block = re.match(r"h\.\d+", path_a)
    same_block = not block or not path_b or path_b.startswith(block.group(0))
    return phase_b in ("backward", "optimizer", "forward") and (same_block or op_a == "residual" or
                                                                pair["how"] == "alias")


class CrossCase:
    """folder: a place of its own; firstbit: the program; changes: to DEFAULT."""

    def __init__(self, firstbit, folder, python=sys.executable, **changes):
        self.firstbit, self.folder = os.path.abspath(firstbit), folder
        self.python = python
        self.case = dict(DEFAULT, **changes)
        self.config = configuration(self.case)
        self.write_config()
        self.weights = self.make_weights()

    def write_config(self):
        with open(os.path.join(self.folder, "config.json"), "w") as file:
            json.dump(self.config, file)

    def make_weights(self):
        """First values: the engine's own, biases and gains moved away from 0 and 1 as training
        does, unless the case asks for what a fresh model has."""
        run(self.folder, self.firstbit, "train", "config.json", "-o", "init.fbt", "--steps", "1")
        run(self.folder, self.firstbit, "replay", "init.fbt", "--to", "1", "--make", "*:param",
            "-o", "init.safetensors")
        arrays, _ = read_safetensors(os.path.join(self.folder, "init.safetensors"))
        weights = {}
        rng = numpy.random.default_rng(self.case["seed"])
        for name, array in arrays.items():
            if not name.startswith("step-000000.init."):
                continue
            name = name[len("step-000000.init."):-len(".param")]
            if array.ndim == 1 and self.case["weights_like_trained"]:
                array = array + 0.1 * rng.standard_normal(array.shape).astype("f4")
            weights[name] = array
        write_safetensors(os.path.join(self.folder, "weights.safetensors"), weights)
        self.config["weights"] = "weights.safetensors"
        self.write_config()
        return weights

    def engine(self, name, *arguments, level="sketch", **settings):
        sets = [a for key, value in settings.items()
                for a in ("--set", f"{key.replace('__', '.')}={json.dumps(value)}")]
        run(self.folder, self.firstbit, "train", "config.json", "-o", name, "--level", level, *sets,
            *arguments)
        return name

    def batches(self, trace):
        """Inputs and targets of every step."""
        with open(TEXT, "rb") as file:
            text = file.read()
        letters = sorted(set(text))
        row, context = [letters.index(b) for b in text], self.case["context"]
        steps = {}
        for e in read_events(self.firstbit, self.folder, trace):
            if e["kind"] == "sample" and e["phase"] == "data":
                steps.setdefault(e["step"], []).extend(int(i) for i in e["indices"])
        made = []
        for step in sorted(steps):
            starts = [i * context for i in steps[step]]
            made.append(([row[s:s + context] for s in starts],
                         [row[s + 1:s + context + 1] for s in starts]))
        return made, len(letters)

    def torch(self, name, like="a.fbt", **changes):
        case = dict(self.case, **changes)
        made, vocab = self.batches(like)
        case["vocab"] = vocab
        spec = {"case": case, "weights": {k: v.tolist() for k, v in self.weights.items()},
                "batches": made}
        path = os.path.join(self.folder, name + ".json")
        with open(path, "w") as file:
            json.dump(spec, file)
        root = os.path.dirname(os.path.dirname(HERE))
        environment = dict(os.environ)
        environment.setdefault("PYTHONPATH", os.path.join(root, "recorders", "python"))
        subprocess.run([self.python, os.path.join(HERE, "torch_gpt.py"), name, path],
                       cwd=self.folder, check=True, env=environment, timeout=120)
        return name

    def diff(self, a, b, *arguments):
        result = subprocess.run([self.firstbit, "diff", a, b, "--json", *arguments],
                                cwd=self.folder, capture_output=True, text=True, timeout=120,
                                check=False)
        if result.returncode not in (0, 1, 3):
            raise AssertionError(result.stderr)
        return json.loads(result.stdout)
