# SPDX-License-Identifier: Apache-2.0
"""What a recorder needs to know of an op, from its schema."""

import json
from typing import Any, Dict, List, Tuple

import torch

# Outputs whose contents mean nothing until they are written.
_UNDEFINED = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "resize_",
              "resize_as_", "_resize_output_", "empty_quantized", "_empty_affine_quantized",
              "_empty_per_channel_affine_quantized", "empty_permuted", "set_", "resize",
              "resize_as"}
_RESIZING = {"resize_", "resize_as_", "_resize_output_"}
# Outputs by their place that an op leaves to its backward pass in a form of its own, with padding
# that nobody writes.
_WORKSPACES = {"_ctc_loss": (1,), "mkldnn_rnn_layer": (3,), "_cudnn_rnn": (3, 4),
               "miopen_rnn": (3, 4), "cudnn_batch_norm": (3,), "all_gather_copy_in": (1,)}
# Not computations: handles of the profiler and the like.
_IGNORED = {"_record_function_enter", "_record_function_enter_new", "_record_function_exit",
            "detach_", "requires_grad_"}
# Arguments that change no result.
_NO_ARGUMENTS = {"device", "layout", "pin_memory", "memory_format", "generator", "names",
                 "non_blocking", "implicit"}
# Of one op, different arguments that are told: a number that changes in each step shall not fill
# the trace.
_TEXTS_MAX = 256
_SEEDED_NAMES = ("bernoulli", "dropout", "rand", "normal", "uniform", "random", "multinomial",
                 "poisson", "exponential", "geometric", "cauchy", "rrelu_with_noise", "binomial",
                 "standard_gamma", "sample_dirichlet")


class OpInfo:
    """Its name, its arguments, and which outputs mean nothing."""

    __slots__ = ("name", "view", "ignored", "undefined", "workspaces", "random", "moves", "shows",
                 "mutable", "resizes", "collective", "overwrites", "names", "ignored_inputs",
                 "defaults", "texts")

    def __init__(self, func: Any) -> None:
        schema = func._schema
        namespace, _, name = schema.name.rpartition("::")
        returns = [r.alias_info for r in schema.returns]
        self.name = name if namespace == "aten" else f"{namespace}.{name}"
        # Outputs that are views of inputs have no contents of their own.
        self.view = name == "_unsafe_view" or any(
            a is not None and not a.is_write for a in returns)
        self.ignored = name in _IGNORED or namespace in ("profiler", "prim", "c10d", "prims")
        self.collective = namespace == "c10d"
        # What a functional collective gives is there when it has been waited for.
        self.undefined = name in _UNDEFINED or (
            namespace.endswith("c10d_functional") and name != "wait_tensor")
        # Where a tensor is filled from itself, as circular padding does, what is copied may not have
        # been written yet.
        self.moves = name == "copy_"
        self.shows = name == "set_"  # a tensor is given the memory of another one, as it is
        self.workspaces = _WORKSPACES.get(name, ())
        tag = getattr(getattr(torch, "Tag", None), "nondeterministic_seeded", None)
        tags = list(getattr(func, "tags", ()))
        self.random = tag in tags if tag is not None and tags else any(
            part in name for part in _SEEDED_NAMES)
        # Arguments that are only written to: what they held is no input.
        out_only = {a.name for a in schema.arguments
                    if a.alias_info is not None and a.alias_info.is_write and a.kwarg_only}
        # What it writes to may lie elsewhere behind it.
        self.resizes = bool(out_only) or name in _RESIZING
        overwritten = name in ("copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_",
                               "random_", "exponential_", "geometric_", "cauchy_", "log_normal_")
        self.names = [a.name for a in schema.arguments]
        self.mutable = [a.name for a in schema.arguments
                        if a.alias_info is not None and a.alias_info.is_write]
        if overwritten and self.mutable:
            out_only.add(self.mutable[0])
        self.ignored_inputs = out_only
        self.overwrites = any(name in out_only for name in self.names[:64])
        self.defaults = {a.name: a.default_value for a in schema.arguments
                         if a.has_default_value() and a.default_value is not None}
        self.texts: Dict[Any, str] = {}

    def arguments(self, args: Tuple[Any, ...], kwargs: Dict[str, Any], views: str) -> str:
        """What the op is called with beside tensors, as JSON; "" where it is nothing. views: more
        members of it, on what it reads and writes."""
        given = [(name, plain) for name, plain in zip(self.names, map(plain_value, args))
                 if plain is not None]
        given += [(name, plain) for name, plain in ((n, plain_value(v)) for n, v in kwargs.items())
                  if plain is not None]
        key = (views, *given)
        text = self.texts.get(key)
        if text is None:
            if len(self.texts) >= _TEXTS_MAX:
                return ""
            text = self._text(dict(given))
            if views:
                text = (text[:-1] + "," if text else "{") + views + "}"
            self.texts[key] = text
        return text

    def changed(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> "List[torch.Tensor]":
        """The tensors that it writes to."""
        found: "List[torch.Tensor]" = []
        for name, value in list(zip(self.names, args)) + list(kwargs.items()):
            if name in self.mutable:
                collect(value, found)
        return found

    def _text(self, given: Dict[str, Any]) -> str:
        for name, value in self.defaults.items():
            plain = plain_value(value)
            if plain is not None:
                given.setdefault(name, plain)
        told = {name: given[name] for name in self.names
                if name in given and name not in _NO_ARGUMENTS}
        return json.dumps(told, separators=(",", ":")) if told else ""


def collect(value: Any, to: "List[torch.Tensor]") -> None:
    """The tensors in an argument or result, in their order."""
    if isinstance(value, torch.Tensor):
        to.append(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            collect(item, to)


def plain_value(value: Any) -> Any:
    """An argument as JSON can say it, hashable; None for tensors and what says nothing."""
    kind = type(value)
    if kind is bool or kind is int or kind is str:
        return value
    if kind is float:
        return value if value - value == 0.0 else str(value)
    if kind is tuple or kind is list:
        plain = tuple([plain_value(item) for item in value])
        return plain if plain and None not in plain else None
    if kind is torch.dtype:
        return str(value)[6:]
    return str(value) if kind is complex else None
