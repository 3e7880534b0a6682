# SPDX-License-Identifier: Apache-2.0
"""The independent twin of the engine: the same configuration, read and trained by PyTorch.

Nothing here shares a line with the engine. It reads the JSON configuration, builds each layer from
PyTorch's own functions, and trains with PyTorch's own losses, clipping and optimizers. Parameters
are a dict from the engine's parameter paths to tensors, so that results compare by name.
"""
import json
import math
import struct

import numpy
import torch
import torch.nn.functional as F

NUMPY_OF = {"F32": numpy.float32, "F64": numpy.float64}


def read_safetensors(path):
    """name -> numpy array, and the metadata."""
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = numpy.frombuffer(data[begin:end], dtype=NUMPY_OF[entry["dtype"]])
        arrays[name] = array.reshape(entry["shape"]).copy()
    return arrays, metadata


def write_safetensors(path, arrays):
    """float32 arrays by name, in order."""
    header, offset, blobs = {}, 0, []
    for name, array in arrays.items():
        blob = numpy.ascontiguousarray(array, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def kind_of(entry):
    """The layer's type: the key beside "name"."""
    return next(key for key in entry if key not in ("name", "layers"))


def named(entries):
    """(name, kind, entry) of the layers of one list, defaults as docs/configuration.md says."""
    kinds = [kind_of(entry) for entry in entries if "name" not in entry]
    seen = {}
    for entry in entries:
        kind = kind_of(entry)
        name = entry.get("name")
        if name is None:
            name = kind
            if kinds.count(kind) > 1:
                name += str(seen.get(kind, 0))
                seen[kind] = seen.get(kind, 0) + 1
        yield name, kind, entry


def pair(value):
    return tuple(value) if isinstance(value, list) else (value, value)


class FlashAttention(torch.autograd.Function):
    """softmax(scores) @ v whose backward takes row sums of dout * out, as fused kernels do: in exact
    arithmetic the sums of p * dp that autograd takes, but rounded differently."""

    @staticmethod
    def forward(ctx, scores, v, nudged):
        p = scores.softmax(-1)
        out = p @ v
        ctx.nudged = nudged
        ctx.save_for_backward(p, v, out)
        return out

    @staticmethod
    def backward(ctx, dout):
        p, v, out = ctx.saved_tensors
        dp = ctx.nudged(dout @ v.transpose(-2, -1))
        ds = p * (dp - ctx.nudged((dout * out).sum(-1, keepdim=True)))
        return ds, p.transpose(-2, -1) @ dout, None


class Twin:
    """The model of a configuration. sizes: {"vocab": V, "classes": n}; dtype: of all arithmetic.

    nudge: a generator of last-bit noise, which moves every activation, every gradient of one and
    every gradient of a parameter by at most one unit in the last place: a float32 program that
    rounds otherwise."""

    def __init__(self, config, sizes, dtype, parameters=None, generator=None, sabotage=None,
                 nudge=None):
        self.config, self.sizes, self.dtype = config, sizes, dtype
        self.generator = generator
        self.sabotage = sabotage or {}
        self.nudge = nudge
        self.dropout_at = None  # step and places in the batch; None: evaluation
        self.parameters = {}
        for name, array in (parameters or {}).items():
            self.parameters[name] = torch.tensor(array, dtype=dtype, requires_grad=True)
            if nudge is not None:
                self.parameters[name].register_hook(self.nudged)

    def nudged(self, x):
        """x, each element moved by -1, 0 or 1 units in the last place."""
        steps = torch.randint(-1, 2, x.shape, generator=self.nudge)
        return x + x * (steps.to(self.dtype) * 2.0 ** -23)

    def with_noise(self, y):
        if self.nudge is None:
            return y
        y = y + (self.nudged(y) - y).detach()
        if y.requires_grad:
            y.register_hook(self.nudged)
        return y

    def parameter(self, name, shape, mean, std):
        """The parameter of this name; made at first use where no weights were given."""
        if name not in self.parameters:
            values = mean + std * torch.randn(shape, generator=self.generator, dtype=torch.float64)
            self.parameters[name] = values.float().to(self.dtype).requires_grad_(True)
        found = self.parameters[name]
        assert tuple(found.shape) == tuple(shape), (name, tuple(found.shape), shape)
        return found

    def linear(self, path, x, out, bias):
        fan_in = x.shape[-1]
        weight = self.parameter(path + ".weight", (out, fan_in), 0, 1 / math.sqrt(fan_in))
        return F.linear(x, weight, self.parameter(path + ".bias", (out,), 0, 0.1) if bias else None)

    def layer(self, path, kind, options, x):
        size = lambda value: self.sizes[value] if isinstance(value, str) else value
        bias = options.get("bias", True) if isinstance(options, dict) else None
        if kind == "residual":
            return x + self.sequence(path + ".", options, x)
        if kind == "embedding":
            weight = self.parameter(path + ".weight", (self.sizes["vocab"], options["dim"]), 0, 0.02)
            y = F.embedding(x, weight)
            if options.get("positions", False):
                y = y + self.parameter(path + ".positions", (x.shape[1], options["dim"]), 0, 0.02)
            return y
        if kind == "linear":
            out = size(options["out"])
            if options.get("tied"):
                b = self.parameter(path + ".bias", (out,), 0, 0.1) if bias else None
                return F.linear(x, self.parameters[options["tied"] + ".weight"], b)
            return self.linear(path, x, out, bias)
        if kind == "layernorm":
            n = x.shape[-1]
            gain = self.parameter(path + ".weight", (n,), 1, 0.1)
            shift = self.parameter(path + ".bias", (n,), 0, 0.1) if bias else None
            return F.layer_norm(x, (n,), gain, shift,
                                self.sabotage.get("eps", options.get("eps", 1e-5)))
        if kind == "attention":
            return self.attention(path, x, options["heads"], options.get("causal", False), bias)
        if kind == "gelu":
            return F.gelu(x, approximate=options.get("approximate", "none"))
        if kind in ("relu", "tanh", "sigmoid", "silu", "softplus"):
            return {"relu": F.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
                    "silu": F.silu, "softplus": F.softplus}[kind](x)
        if kind == "dropout":
            return self.dropout(path, x, options.get("p", 0.5))
        if kind == "conv2d":
            kernel = pair(options["kernel"])
            fan_in = x.shape[1] * kernel[0] * kernel[1]
            weight = self.parameter(path + ".weight", (options["out"], x.shape[1], *kernel), 0,
                                    1 / math.sqrt(fan_in))
            b = self.parameter(path + ".bias", (options["out"],), 0, 0.1) if bias else None
            return F.conv2d(x, weight, b, pair(options.get("stride", 1)),
                            pair(options.get("padding", 0)))
        if kind in ("maxpool", "avgpool"):
            pool = F.max_pool2d if kind == "maxpool" else F.avg_pool2d
            kernel = pair(options["kernel"])
            return pool(x, kernel, pair(options.get("stride", list(kernel))),
                        pair(options.get("padding", 0)))
        if kind == "flatten":
            return x.flatten(1)
        raise ValueError("no layer " + kind)

    def dropout(self, path, x, p):
        if self.dropout_at is None:
            return x
        from random_twin import dropout_keeps  # needs xxhash, which other users of the twin lack
        step, places = self.dropout_at
        keeps = dropout_keeps(self.config["seed"], path, step, places, x[0].numel(), p)
        scale = float(numpy.float32(1 / (1 - p)))
        return x * torch.from_numpy(keeps).view(x.shape).to(self.dtype) * scale

    def attention(self, path, x, heads, causal, bias):
        batch, time, channels = x.shape
        qkv = self.with_noise(self.linear(path + ".qkv", x, 3 * channels, bias))
        q, k, v = (part.view(batch, time, heads, -1).transpose(1, 2)
                   for part in qkv.split(channels, dim=2))
        scores = q @ k.transpose(2, 3) / math.sqrt(self.sabotage.get("head_dim", q.shape[-1]))
        if causal:
            visible = torch.ones(time, time, dtype=torch.bool).tril()
            scores = scores.masked_fill(~visible, -math.inf)
        if self.nudge:
            mixed = FlashAttention.apply(scores, v, self.nudged)
        else:
            mixed = scores.softmax(-1) @ v
        mixed = self.with_noise(mixed.transpose(1, 2).reshape(batch, time, channels))
        return self.linear(path + ".proj", mixed, channels, bias)

    def sequence(self, prefix, entries, x):
        for name, kind, entry in named(entries):
            if kind == "repeat":
                for i in range(entry["repeat"]):
                    x = self.sequence("%s%s.%d." % (prefix, name, i), entry["layers"], x)
            else:
                x = self.with_noise(self.layer(prefix + name, kind, entry[kind], x))
        return x

    def forward(self, x):
        return self.sequence("", self.config["model"], x)

    def loss(self, outputs, targets, reduction="mean"):
        if self.ignored() is None:
            targets = targets.reshape(outputs.shape).to(self.dtype)
            return F.mse_loss(outputs, targets, reduction=reduction)
        if self.nudge and reduction == "sum":
            rows, at = outputs.flatten(0, -2), targets.flatten()
            counts = at != self.ignored()
            found = rows[counts].gather(1, at[counts].long()[:, None])[:, 0]
            return (rows[counts].logsumexp(-1) - found).sum()
        return F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction=reduction,
                               ignore_index=self.ignored())

    def ignored(self):
        """The target that does not count, None where every one does."""
        loss = self.config["loss"]
        if loss == "mse" or (isinstance(loss, dict) and "mse" in loss):
            return None
        return -100 if isinstance(loss, str) else loss["cross_entropy"].get("ignore_index", -100)

    def count(self, targets):
        """Targets that count."""
        return targets.numel() if self.ignored() is None else int((targets != self.ignored()).sum())


def make_optimizer(config, parameters):
    (kind, o), = config["optimizer"].items()
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=o["lr"], momentum=o.get("momentum", 0),
                               dampening=o.get("dampening", 0), nesterov=o.get("nesterov", False),
                               weight_decay=o.get("weight_decay", 0))
    make = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return make(parameters, lr=o["lr"], betas=tuple(o.get("betas", (0.9, 0.999))),
                eps=o.get("eps", 1e-8),
                weight_decay=o.get("weight_decay", 0.01 if kind == "adamw" else 0))


def factor_at(config, step):
    """The schedule's factor of the learning rate at step 1, 2, ..."""
    schedule = config.get("schedule", "constant")
    kind, o = (schedule, {}) if isinstance(schedule, str) else next(iter(schedule.items()))
    if kind == "constant":
        return 1.0
    if kind == "warmup":
        return min(1.0, step / o["steps"])
    if kind == "step":
        return o.get("gamma", 0.1) ** ((step - 1) // o["every"])
    warmup, total = o.get("warmup", 0), o.get("total", config["steps"])
    least = o.get("min_factor", 0)
    if step < warmup:
        return step / warmup
    if step >= total:
        return least
    progress = (step - warmup) / (total - warmup)
    return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * progress))


def evaluate(twin, inputs, targets):
    """What an evaluation on these samples reports."""
    twin.dropout_at = None
    with torch.no_grad():
        outputs = twin.forward(inputs)
        count = max(twin.count(targets), 1)
        whole = twin.loss(outputs, targets, reduction="sum").item()
        seen = {"eval loss": numpy.array(whole / count)}
        if twin.ignored() is not None:
            rows = targets.flatten()
            right = (outputs.flatten(0, -2).argmax(-1) == rows) & (rows != twin.ignored())
            seen["eval accuracy"] = numpy.array(right.sum().item() / count)
    return seen


def train_step(twin, optimizer, step, inputs, targets, split=1, places=None):
    """One step; the gradients of `split` parts of the batch are summed. places: those of the samples
    in the batch (dropout asks), default as they come. Returns what is compared: the loss, gradients
    before and after clipping, the norm, parameters after the update."""
    config = twin.config
    (_, o), = config["optimizer"].items()
    for group in optimizer.param_groups:
        group["lr"] = o["lr"] * factor_at(config, step)
    optimizer.zero_grad()
    whole = 0.0
    count = max(twin.count(targets), 1)
    if places is None:
        places = range(len(inputs))
    for x, y, at in zip(inputs.chunk(split), targets.chunk(split),
                        torch.tensor(list(places)).chunk(split)):
        twin.dropout_at = (step, at.tolist())
        part = twin.loss(twin.forward(x), y, reduction="sum") / count
        part.backward()
        whole += part.item()
    seen = {"loss": numpy.array(whole), "lr": numpy.array(optimizer.param_groups[0]["lr"])}
    for name, p in twin.parameters.items():
        seen["grad.sum " + name] = p.grad.detach().double().numpy().copy()
    if config.get("clip"):
        norm = torch.nn.utils.clip_grad_norm_(twin.parameters.values(), config["clip"])
        seen["grad_norm"] = norm.detach().double().numpy().copy()
        for name, p in twin.parameters.items():
            seen["grad.clip " + name] = p.grad.detach().double().numpy().copy()
    optimizer.step()
    for name, p in twin.parameters.items():
        seen["param " + name] = p.detach().double().numpy().copy()
    return seen
