# SPDX-License-Identifier: Apache-2.0
"""One training in two frameworks: an engine run, and the same model, weights and batches in PyTorch.

Weights and batches go over as values, never as names that the comparison could read.
"""
import json
import os
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "torch"))

from program import read_events, run  # noqa: E402
from torch_twin import read_safetensors  # noqa: E402

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


def write_safetensors(path, arrays):
    header, offset, blobs = {}, 0, []
    for name, array in arrays.items():
        blob = array.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


class CrossCase:
    """folder: a place of its own; firstbit: the program; changes: to DEFAULT."""

    def __init__(self, firstbit, folder, python=sys.executable, **changes):
        self.firstbit, self.folder, self.python = firstbit, folder, python
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
        import numpy
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
