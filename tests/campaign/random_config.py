# SPDX-License-Identifier: Apache-2.0
"""Random small configurations with their data, made from a number; docs/configuration.md is what
they are drawn from.

A case is a configuration that firstbit accepts, the files that it names, and the same data as
Python lists. Everything follows from the case's number. Only Python's own library is used.
"""
import gzip
import json
import os
import random
import struct
from collections import namedtuple

# One part's samples: flat lists of numbers; shapes are those of one sample.
Samples = namedtuple("Samples", "inputs targets")

ACTIVATIONS = [{"gelu": {}}, {"gelu": {"approximate": "tanh"}}, {"relu": {}}, {"tanh": {}},
               {"sigmoid": {}}, {"silu": {}}, {"softplus": {}}]


def product(shape):
    n = 1
    for size in shape:
        n *= size
    return n


def pool_size(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


class ModelMaker:
    """Draws layers for a shape. `shape` is that of one sample and follows what was added."""

    def __init__(self, rng, dropout):
        self.rng, self.dropout = rng, dropout
        self.elements = 6000  # of an activation, at most
        self.work = 40  # layers, copies counted, at most

    def some(self, *choices):
        return self.rng.choice(choices)

    def scalar_or_pair(self, a, b):
        return a if a == b and self.rng.random() < 0.7 else [a, b]

    def linear(self, out):
        options = {"out": out}
        if self.rng.random() < 0.4:
            options["bias"] = self.some(True, False)
        return {"linear": options}

    def layernorm(self, channels):
        options = {}
        if self.rng.random() < 0.5:
            options["eps"] = self.some(1e-5, 1e-3, 1e-6, 0.1)
        if channels >= 8 and self.rng.random() < 0.1:
            options["eps"] = 0
        if self.rng.random() < 0.3:
            options["bias"] = False
        return {"layernorm": options}

    def attention(self, channels):
        heads = self.some(*[h for h in (1, 2, 3, 4, 5, 7) if channels % h == 0])
        options = {"heads": heads}
        if self.rng.random() < 0.8:
            options["causal"] = self.some(True, True, False)
        if self.rng.random() < 0.3:
            options["bias"] = False
        return {"attention": options}

    def window(self, shape, pool):
        """Options of a convolution or a pool, and what comes out: [H', W']."""
        kernel, stride, padding, out = [], [], [], []
        for size in shape[1:]:
            k = self.some(1, 2, 2, 3, 3, 4, 5) if pool else self.some(1, 2, 3, 3, 4, 5, 7)
            k = min(k, size)
            s = self.some(1, 1, 2, 3) if not pool else self.some(k, k, 1, 2, 3)
            p = self.rng.randint(0, k // 2 if pool else min(3, size))
            kernel.append(k)
            stride.append(s)
            padding.append(p)
            out.append(pool_size(size, k, s, p))
        options = {"kernel": self.scalar_or_pair(*kernel)}
        if stride != (kernel if pool else [1, 1]):
            options["stride"] = self.scalar_or_pair(*stride)
        if padding != [0, 0]:
            options["padding"] = self.scalar_or_pair(*padding)
        return options, out

    def conv(self, shape, keep):
        channels = shape[0] if keep else self.rng.randint(1, 7)
        if keep:
            kernel = [self.some(1, 3, 5), self.some(1, 3, 5)]
            options = {"kernel": self.scalar_or_pair(*kernel)}
            if kernel != [1, 1]:
                options["padding"] = self.scalar_or_pair(kernel[0] // 2, kernel[1] // 2)
            out = shape[1:]
        else:
            options, out = self.window(shape, pool=False)
        if self.rng.random() < 0.3:
            options["bias"] = False
        return {"conv2d": {"out": channels, **options}}, [channels, *out]

    def plain(self, shape):
        """One layer that is neither residual nor repeat; the shape behind it."""
        kinds = ["linear", "layernorm", "activation", "activation"]
        if self.dropout:
            kinds += ["dropout"] * 2
        if len(shape) == 2:
            kinds += ["attention"] * 3
        if len(shape) == 3:
            kinds += ["conv2d"] * 3 + ["maxpool", "avgpool"]
        kind = self.rng.choice(kinds)
        if kind == "linear":
            out = self.some(shape[-1], self.rng.randint(1, 40), 17, 16)
            return self.linear(out), [*shape[:-1], out]
        if kind == "layernorm":
            return self.layernorm(shape[-1]), shape
        if kind == "activation":
            return dict(self.rng.choice(ACTIVATIONS)), shape
        if kind == "dropout":
            return self.drop(), shape
        if kind == "attention":
            return self.attention(shape[-1]), shape
        if kind == "conv2d":
            return self.conv(shape, keep=False)
        options, out = self.window(shape, pool=True)
        return {kind: options}, [shape[0], *out]

    def drop(self):
        return {"dropout": self.some({}, {"p": 0.1}, {"p": 0.3}, {"p": 0.25}, {"p": 0}, {"p": 0.9})}

    def keeping(self, shape, depth):
        """A list of layers that keeps the shape: the branch of a residual, the body of a repeat."""
        entries, now = [], shape
        for _ in range(self.rng.randint(1, 3)):
            entry, after = self.step(now, depth)
            if len(after) == len(shape) and after[:-1] == now[:-1]:
                entries, now = entries + [entry], after
        if now != shape:
            entries.append(self.linear(shape[-1]))
        if not entries and len(shape) == 3:
            entries.append(self.conv(shape, keep=True)[0])
        return self.name_some(entries or [self.layernorm(shape[-1])])

    def step(self, shape, depth):
        """One entry of a list."""
        self.work -= 1
        chance = self.rng.random()
        if depth > 0 and chance < 0.3:
            return {"residual": self.keeping(shape, depth - 1)}, shape
        if depth > 0 and chance < 0.4:
            copies = self.rng.randint(1, 3)
            self.work -= 4 * copies
            return {"repeat": copies, "layers": self.keeping(shape, depth - 1)}, shape
        entry, after = self.plain(shape)
        while product(after) > self.elements or min(after) < 1:
            entry, after = self.plain(shape)
        return entry, after

    def layers(self, shape, count):
        entries = []
        while count > 0 and self.work > 0:
            entry, shape = self.step(shape, depth=2)
            entries.append(entry)
            count -= 1
        return entries, shape

    def name_some(self, entries):
        """Names for some of a list: unique in it, and like no default name."""
        for i, entry in enumerate(entries):
            if "name" not in entry and self.rng.random() < 0.3:
                entry["name"] = "%s-%d_" % (self.some("a", "Fc", "x_9"), i)
        return entries


class Case:
    """config; sizes of the data; batch(indices, part), parts being "train" and "val"."""

    def __init__(self, number):
        self.rng = rng = random.Random("firstbit case %d" % number)
        self.number = number
        self.files = {}  # name -> bytes
        self.sizes = {}
        self.wild = rng.random() < 0.06  # trains into NaN and infinity
        self.evaluates = rng.random() < 0.4
        self.micro = rng.choice([1, 1, 2, 2, 3, 4])
        self.size = self.micro * rng.choice([1, 1, 2, 3])
        self.loss = rng.choice(["cross_entropy", "cross_entropy", "mse"])
        self.ignore = None
        kind = rng.choice(["text", "text", "tokens", "idx", "idx", "npy", "npy", "npy"])
        if kind in ("text", "tokens"):
            self.loss = "cross_entropy"
        if kind == "idx":
            self.loss = "cross_entropy"
        self.train_count = self.size * rng.randint(1, 3) + rng.randrange(self.size)
        self.val_count = self.micro_size() * rng.randint(1, 5) if self.evaluates else 0
        if self.val_count == 0 and rng.random() < 0.3:
            self.val_count = rng.randint(1, 3)
        self.config = {"seed": rng.choice([0, 1, 42, 2 ** 32, 2 ** 53 - 1, rng.getrandbits(40)])}
        getattr(self, "make_" + kind)()
        classes = max(self.sizes.values(), default=None)  # the two words mean the same
        self.sizes = {"vocab": classes, "classes": classes}
        self.add_training()

    def micro_size(self):
        return self.size // self.micro

    # --- Data ---------------------------------------------------------------------------------

    def split(self, n, first, second=None):
        """A split that gives train the items below `first` of n, val the rest (up to `second`)."""
        share = lambda cut: (cut + 0.5) / n
        if first == n:
            return [1, 0]
        if second is None or second == n:
            return [share(first), 1 - share(first)]
        return [share(first), share(second) - share(first), 1 - share(second)]

    def make_sequence(self, tokens):
        """The parts of one row of tokens; windows as the documentation says. Returns the data's
        split and context."""
        rng, context = self.rng, self.context
        cut = self.train_count * context + 1 + rng.randrange(context)
        end = cut
        if self.val_count:
            end = cut + self.val_count * context + 1 + rng.randrange(context)
        row = tokens(end)
        self.parts = {}
        for part, first, last in (("train", 0, cut), ("val", cut, end)):
            starts = range(first, max(last - context, first), context)
            self.parts[part] = Samples([row[i:i + context] for i in starts],
                                       [row[i + 1:i + context + 1] for i in starts])
        self.input_shape = self.target_shape = [context]
        return row, self.split(end, cut)

    def choose_context(self):
        self.context = self.rng.choice([1, 2, 7, 7, 16, 33, 65, 65, 300, 513])
        if self.context > 250:
            self.train_count, self.val_count = min(self.train_count, 2 * self.size), 0
            self.evaluates = False

    def make_text(self):
        rng = self.rng
        self.choose_context()
        letters = sorted(rng.sample(range(256), rng.choice([1] + [2, 11, 30, 65, 256] * 4)))

        def tokens(n):
            drawn = [rng.choice(letters) for _ in range(n)]
            self.files["data.txt"] = bytes(drawn)
            found = sorted(set(drawn))
            self.sizes["vocab"] = len(found)
            return [found.index(byte) for byte in drawn]

        _, split = self.make_sequence(tokens)
        self.config["data"] = {"text": "data.txt", "context": self.context, "split": split}
        self.make_token_model(["vocab", "classes"])

    def make_tokens(self):
        rng = self.rng
        self.choose_context()
        vocab = rng.choice([3, 50, 300, 1000])

        def tokens(n):
            row = [rng.randrange(vocab) for _ in range(n)]
            header = struct.pack("<256i", 20240520, 1, n, *([0] * 253))
            self.files["data.bin"] = header + struct.pack("<%dH" % n, *row)
            return row

        self.sizes["vocab"] = vocab
        _, split = self.make_sequence(tokens)
        self.config["data"] = {"tokens": "data.bin", "context": self.context, "vocab": vocab,
                               "split": split}
        self.make_token_model(["vocab", "classes", vocab])

    def make_idx(self):
        rng = self.rng
        shape = rng.choice([[rng.randint(3, 14), rng.randint(3, 14)],
                            [rng.randint(1, 3), rng.randint(3, 9), rng.randint(3, 9)],
                            [rng.choice([1, 5, 16, 31, 300])]])
        n, classes = self.train_count + self.val_count, self.choose_classes()
        pixels = [[rng.choice([0, 0, 255, rng.randrange(256)]) for _ in range(product(shape))]
                  for _ in range(n)]
        labels = [[rng.randrange(classes)] for _ in range(n)]
        classes = max(label for label, in labels) + 1
        self.sizes["classes"] = classes
        head = struct.pack(">BBBB", 0, 0, 8, 1 + len(shape)) + struct.pack(">I", n)
        head += b"".join(struct.pack(">I", size) for size in shape)
        self.files["images"] = head + bytes(sum(pixels, []))
        self.files["labels"] = struct.pack(">BBBBI", 0, 0, 8, 1, n) + bytes(sum(labels, []))
        for name in ("images", "labels"):
            if rng.random() < 0.4:
                self.files[name] = gzip.compress(self.files[name], mtime=0)
        data = {"idx": {"images": "images", "labels": "labels"},
                "split": self.split(n, self.train_count)}
        mean, std = 0.0, 1.0
        if rng.random() < 0.6:
            mean = data["mean"] = rng.choice([0.1307, 0.5, -1])
            std = data["std"] = rng.choice([0.3081, 0.5, 2])
        self.config["data"] = data
        f32 = lambda x: struct.unpack("<f", struct.pack("<f", x))[0]
        value = [f32(f32(f32(byte / 255) - f32(mean)) / f32(std)) for byte in range(256)]
        inputs = [[value[byte] for byte in row] for row in pixels]
        self.set_parts(inputs, labels)
        self.input_shape = [1] + shape if len(shape) == 2 else shape
        self.target_shape = []
        self.make_plain_model(["classes", "vocab", classes], flat=True)

    def set_parts(self, inputs, targets):
        n = self.train_count
        self.parts = {"train": Samples(inputs[:n], targets[:n]),
                      "val": Samples(inputs[n:], targets[n:])}

    def make_npy(self):
        """The model first: targets have the shape that comes out of it."""
        rng = self.rng
        n = self.train_count + self.val_count
        if rng.random() < 0.3:
            shape = [rng.choice([1, 7, 33])]
            vocab = rng.randint(2, 40)
            rows = [[rng.randrange(vocab) for _ in range(shape[0])] for _ in range(n)]
            rows[0][0] = vocab - 1
            self.sizes["vocab"], integers = vocab, True
        else:
            shape = rng.choice([[rng.choice([1, 3, 40, 300])],
                                [rng.choice([1, 5, 65]), rng.choice([4, 6, 15])],
                                [rng.randint(1, 3), rng.randint(3, 10), rng.randint(3, 10)]])
            rows = [[rng.gauss(0, 1) for _ in range(product(shape))] for _ in range(n)]
            integers = False
        rows = [list(struct.unpack("<%df" % len(r), struct.pack("<%df" % len(r), *r)))
                for r in rows] if not integers else rows
        self.input_shape = shape
        classes = self.choose_classes()
        if integers:
            classes = max(classes, self.sizes["vocab"])
            self.make_token_model([classes] if self.loss == "cross_entropy" else None)
        else:
            self.make_plain_model([classes] if self.loss == "cross_entropy" else None, flat=None)
        self.config["data"] = {"npy": {"inputs": "inputs.npy", "targets": "targets.npy"},
                               "split": self.split(n, self.train_count)}
        self.files["inputs.npy"] = self.npy(rows, shape, integers)
        self.target_shape = (self.output_shape[:-1] if self.loss == "cross_entropy"
                             else self.output_shape)
        each = product(self.target_shape)
        if self.loss == "mse":
            targets = [[rng.gauss(0, 1) for _ in range(each)] for _ in range(n)]
            targets = [list(struct.unpack("<%df" % each, struct.pack("<%df" % each, *row)))
                       for row in targets]
            if rng.random() < 0.3:  # as many elements as the output has, in another shape
                self.target_shape = [each]
        else:
            targets = [[rng.randrange(classes) for _ in range(each)] for _ in range(n)]
            targets[0][0] = classes - 1
            self.sizes["classes"] = classes
            self.choose_ignored(classes)
            if self.ignore is not None:
                targets = [[self.ignore if rng.random() < 0.3 else t for t in row]
                           for row in targets]
                targets[0][0] = classes - 1
        kinds = [k for k in "i4 i8 u1".split()
                 if k != "u1" or min(map(min, targets)) >= 0]
        self.files["targets.npy"] = self.npy(targets, self.target_shape, self.loss != "mse", kinds)
        self.set_parts(rows, targets)

    def choose_classes(self):
        return self.rng.choice([1] + [2, 3, 5, 10, 12] * 4)

    def choose_ignored(self, classes):
        self.ignore = self.rng.choice([None, -100, -1, 0, 255, -2 ** 31])
        if self.ignore == classes - 1:
            self.ignore = None

    def npy(self, rows, shape, integers, kinds=("i4", "i8", "u1")):
        kind = self.rng.choice(kinds) if integers else "f4"
        code = {"i4": "i", "i8": "q", "u1": "B", "f4": "f"}[kind]
        shape = [len(rows), *shape]
        text = "{'descr': '%s%s', 'fortran_order': False, 'shape': (%s,), }" % (
            "|" if kind == "u1" else "<", kind, ", ".join(map(str, shape)))
        version = self.rng.choice([1, 2])
        length = 10 if version == 1 else 12
        text += " " * (-(length + len(text) + 1) % 64) + "\n"
        head = b"\x93NUMPY" + bytes([version, 0])
        head += struct.pack("<H" if version == 1 else "<I", len(text))
        values = [value for row in rows for value in row]
        return head + text.encode() + struct.pack("<%d%s" % (len(values), code), *values)

    # --- Model --------------------------------------------------------------------------------

    def choose_dropout(self):
        self.dropout = self.rng.random() < 0.4
        return ModelMaker(self.rng, self.dropout)

    def make_token_model(self, heads):
        """heads: what the last linear's `out` may say; None: anything."""
        rng, maker = self.rng, self.choose_dropout()
        time = self.context if hasattr(self, "context") else self.input_shape[0]
        channels = rng.choice([1, 2, 6, 8, 12, 15, 16, 24])
        if time > 250:
            channels, maker.work = rng.choice([3, 4, 6, 8]), 6
        embedding = {"embedding": {"dim": channels}}
        if rng.random() < 0.6:
            embedding["embedding"]["positions"] = rng.choice([True, True, False])
        name = embedding["name"] = rng.choice(["embedding", "wte"])
        body, shape = maker.layers([time, channels], rng.randint(0, 6))
        out = rng.choice(heads) if heads else rng.randint(1, 5)
        tied = out in ("vocab", "classes", self.sizes["vocab"]) and rng.random() < 0.4
        if tied and shape[-1] != channels:
            body.append(maker.linear(channels))
        head = maker.linear(out)
        if tied:
            head["linear"]["tied"] = name
        self.config["model"] = maker.name_some([embedding] + body + [head])
        self.output_shape = [time, out]
        if heads and len(heads) > 1 and rng.random() < 0.3:
            self.ignore = rng.randrange(self.sizes["vocab"])

    def make_plain_model(self, heads, flat):
        rng, maker = self.rng, self.choose_dropout()
        body, shape = maker.layers(self.input_shape, rng.randint(0, 6))
        if len(shape) > 1 and (flat or (flat is None and rng.random() < 0.5)):
            body.append({"flatten": {}})
            shape = [product(shape)]
            more, shape = maker.layers(shape, rng.randint(0, 3))
            body += more
        if rng.random() < 0.05:  # rows of more than one chunk of 4096
            wide = [maker.linear(4200), {"layernorm": {}}, {"linear": {"out": 5}}]
            if product(shape[:-1]) == 1:
                body += wide
        out = rng.choice(heads) if heads else rng.randint(1, 5)
        self.config["model"] = maker.name_some(body + [maker.linear(out)])
        self.output_shape = [*shape[:-1], out]

    # --- Training -----------------------------------------------------------------------------

    def add_training(self):
        rng, config = self.rng, self.config
        if self.loss == "mse":
            config["loss"] = rng.choice(["mse", {"mse": {}}])
        elif self.ignore is not None:
            config["loss"] = {"cross_entropy": {"ignore_index": self.ignore}}
        else:
            config["loss"] = rng.choice(["cross_entropy", {"cross_entropy": {}}])
        self.steps = rng.randint(2, 5)
        config.update(batch={"size": self.size, "micro": self.micro}, steps=self.steps,
                      optimizer=self.optimizer(), schedule=self.schedule())
        if self.micro == 1 and rng.random() < 0.5:
            del config["batch"]["micro"]
        if rng.random() < 0.5:
            config["clip"] = rng.choice([0, 0.01, 0.1, 1.0, 100])
        if self.evaluates:
            config["eval"] = {"every": rng.randint(1, self.steps), "batches": rng.randint(1, 3)}
        config["checkpoint"] = {"every": rng.randint(1, max(1, self.steps - 1))}

    def optimizer(self):
        rng = self.rng
        kind = rng.choice(["sgd", "adam", "adamw"])
        options = {"lr": rng.choice([1e-3, 1e-2, 0.05])}
        if self.wild:
            options["lr"] = rng.choice([1e6, 1e20, 1e38])
        if kind == "sgd":
            if rng.random() < 0.7:
                options["momentum"] = rng.choice([0.5, 0.9, 0.99])
                chance = rng.random()
                if chance < 0.4:
                    options["nesterov"] = True
                elif chance < 0.7:
                    options["dampening"] = rng.choice([0.1, 0.5, 1])
        else:
            if rng.random() < 0.6:
                # A first beta above the root of the second would let noise grow without bound.
                options["betas"] = rng.choice([[0.9, 0.95], [0, 0.99], [0.5, 0.5], [0.95, 0.9999]])
            if rng.random() < 0.4:
                options["eps"] = rng.choice([1e-8, 1e-6, 1e-3])
        if rng.random() < 0.5:
            options["weight_decay"] = rng.choice([0, 0.01, 0.1])
        return {kind: options}

    def schedule(self):
        rng = self.rng
        kind = rng.choice(["constant", "warmup", "cosine", "step"])
        if kind == "constant":
            return rng.choice(["constant", {"constant": {}}])
        if kind == "warmup":
            return {"warmup": {"steps": rng.randint(1, 7)}}
        if kind == "step":
            options = {"every": rng.randint(1, 3)}
            if rng.random() < 0.6:
                options["gamma"] = rng.choice([0.5, 0.9, 1.1])
            return {"step": options}
        options = {}
        if rng.random() < 0.6:
            options["warmup"] = rng.randint(0, 4)
        if rng.random() < 0.6:
            options["total"] = rng.randint(1, 9)
        if rng.random() < 0.5:
            options["min_factor"] = rng.choice([0, 0.1, 1])
        return {"cosine": options} if options else "cosine"

    # --- For the tests ------------------------------------------------------------------------

    def write(self, folder):
        for name, data in self.files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(self.config, file, indent=1)
