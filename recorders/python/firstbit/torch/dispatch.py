# SPDX-License-Identifier: Apache-2.0
"""The dispatch mode: one event for each output of each op, with what made its inputs."""

import json
import sys
import sysconfig
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ..recorder import EventRef
from .contents import Maker, obstacle, readable, record_tensor

if TYPE_CHECKING:
    from .session import Session

# Outputs whose contents mean nothing until they are written.
_UNDEFINED = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "resize_",
              "resize_as_", "_resize_output_", "empty_quantized", "_empty_affine_quantized",
              "_empty_per_channel_affine_quantized", "empty_permuted", "set_", "resize",
              "resize_as"}
# Outputs by their place that an op leaves to its backward pass in a form of its own, with padding
# that nobody writes.
_WORKSPACES = {"mkldnn_rnn_layer": (3,), "_cudnn_rnn": (3, 4), "miopen_rnn": (3, 4),
               "cudnn_batch_norm": (3,)}
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
    """What a recorder needs to know of an op, from its schema."""

    __slots__ = ("name", "view", "ignored", "undefined", "workspaces", "random", "mutable",
                 "names", "ignored_inputs", "defaults", "texts")

    def __init__(self, func: Any) -> None:
        schema = func._schema
        namespace, _, name = schema.name.rpartition("::")
        returns = [r.alias_info for r in schema.returns]
        self.name = name if namespace == "aten" else f"{namespace}.{name}"
        # Outputs that are views of inputs have no contents of their own.
        self.view = name == "_unsafe_view" or any(
            a is not None and not a.is_write for a in returns)
        self.ignored = name in _IGNORED or namespace in ("profiler", "prim", "c10d", "prims")
        self.undefined = name in _UNDEFINED
        self.workspaces = _WORKSPACES.get(name, ())
        tag = getattr(getattr(torch, "Tag", None), "nondeterministic_seeded", None)
        tags = list(getattr(func, "tags", ()))
        self.random = tag in tags if tag is not None and tags else any(
            part in name for part in _SEEDED_NAMES)
        # Arguments that are only written to: what they held is no input.
        out_only = {a.name for a in schema.arguments
                    if a.alias_info is not None and a.alias_info.is_write and a.kwarg_only}
        overwritten = name in ("copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_",
                               "random_", "exponential_", "geometric_", "cauchy_", "log_normal_")
        self.names = [a.name for a in schema.arguments]
        self.mutable = [a.name for a in schema.arguments
                        if a.alias_info is not None and a.alias_info.is_write]
        if overwritten and self.mutable:
            out_only.add(self.mutable[0])
        self.ignored_inputs = out_only
        self.defaults = {a.name: a.default_value for a in schema.arguments
                         if a.has_default_value() and a.default_value is not None}
        self.texts: Dict[Any, str] = {}

    def arguments(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> str:
        """What the op is called with beside tensors, as JSON; "" where it is nothing."""
        given = [(name, plain) for name, plain in zip(self.names, map(plain_value, args))
                 if plain is not None]
        given += [(name, plain) for name, plain in ((n, plain_value(v)) for n, v in kwargs.items())
                  if plain is not None]
        key = tuple(given)
        text = self.texts.get(key)
        if text is None:
            if len(self.texts) >= _TEXTS_MAX:
                return ""
            text = self.texts[key] = self._text(dict(given))
        return text

    def _text(self, given: Dict[str, Any]) -> str:
        for name, value in self.defaults.items():
            plain = plain_value(value)
            if plain is not None:
                given.setdefault(name, plain)
        told = {name: given[name] for name in self.names
                if name in given and name not in _NO_ARGUMENTS}
        return json.dumps(told, separators=(",", ":")) if told else ""


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


def collect(value: Any, to: List[torch.Tensor]) -> None:
    if isinstance(value, torch.Tensor):
        to.append(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            collect(item, to)


class Dispatch(TorchDispatchMode):
    """Active while a step records ops. Calls each op as it is, then looks at what came."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self.session = session
        self.infos: Dict[Any, OpInfo] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Tuple[Any, ...] = (),
                           kwargs: Optional[Dict[str, Any]] = None) -> Any:
        kwargs = kwargs or {}
        session = self.session
        if not session.ops or session.waiting:
            return func(*args, **kwargs)
        info = self.infos.get(func)
        if info is None:
            info = self.infos[func] = OpInfo(func)
        if info.ignored or info.view:
            return func(*args, **kwargs)
        inputs = session.guarded(self._inputs, info, args, kwargs) or ([], None)
        before = session.guarded(session.draws.before, info, args, kwargs) if info.random else None
        out = func(*args, **kwargs)
        if before is not None:
            draw = session.guarded(session.draws.after, before, info, out, inputs[1])
            if draw is not None:  # what came is made of these numbers
                inputs[0].append(draw)
        session.guarded(self._outputs, info, args, kwargs, out, inputs)
        return out

    def _inputs(self, info: OpInfo, args: Tuple[Any, ...],
                kwargs: Dict[str, Any]) -> "tuple[list, Optional[str]]":
        """References to what made the inputs, and the path of the forward op that one of them is
        from, for ops of the backward pass. Contents that nobody saw made are recorded as such."""
        session = self.session
        if session.updating:  # updates are recorded as parameters and states
            return [], None
        tensors: List[torch.Tensor] = []
        if info.ignored_inputs:
            args = tuple(value for name, value in zip(info.names, args)
                         if name not in info.ignored_inputs)
            kwargs = {name: value for name, value in kwargs.items()
                      if name not in info.ignored_inputs}
        for value in args:
            collect(value, tensors)
        for value in kwargs.values():
            collect(value, tensors)
        refs, path = [], None
        found = [session.makers.find(t) for t in tensors]
        if session.phase == "backward" and not session.modules.stack:
            path = self._owner([maker for maker in found if maker is not None])
        for i, (tensor, maker) in enumerate(zip(tensors, found)):
            if maker is None:
                if tensor.numel() == 0 or obstacle(tensor) is not None:
                    continue
                where = session.modules.path if path is None else path
                refs.append(record_tensor(
                    session.recorder, session.makers, tensor, "tensor", session.phase, where,
                    info.name, f"in{i}", [], session.source, session.left_out))
            else:
                refs.append(maker.ref)
        return refs, path

    def _owner(self, makers: List[Maker]) -> Optional[str]:
        """The module whose backward pass an op belongs to: that of the parameter it uses, else of
        what it uses from the forward pass; and of the op that used the same gradient before."""
        owners = self.session.owners
        gradients = [maker.ref for maker in makers if maker.path is None]
        for ref in gradients:
            if ref in owners:
                return owners[ref]
        path = None
        for maker in makers:
            if maker.path is not None:
                path = maker.path
                if maker.param:
                    break
        if path is not None:
            owners.update((ref, path) for ref in gradients)
        return path

    def _outputs(self, info: OpInfo, args: Tuple[Any, ...], kwargs: Dict[str, Any], out: Any,
                 inputs: "tuple[list, Optional[str]]") -> None:
        session = self.session
        if session.updating:
            return
        outputs: List[torch.Tensor] = []
        collect(out, outputs)
        if not outputs and info.mutable:  # foreach ops change lists and return nothing
            for name, value in list(zip(info.names, args)) + list(kwargs.items()):
                if name in info.mutable:
                    collect(value, outputs)
        path = session.modules.path if inputs[1] is None else inputs[1]
        told = info.arguments(args, kwargs)
        for i, tensor in enumerate(outputs):
            record_tensor(session.recorder, session.makers, tensor, "tensor", session.phase, path,
                          info.name, "out" if i == 0 else f"out{i}", inputs[0], session.source,
                          session.left_out, info.undefined or i in info.workspaces,
                          bool(info.mutable), told)


class Draws:
    """Random numbers: the generator's state before, and the values that came."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.generators: List[Any] = []

    def _stream(self, generator: Any) -> str:
        if generator is None or generator is torch.default_generator:
            return "torch"
        for i, known in enumerate(self.generators):
            if known is generator:
                return f"torch.generator{i}"
        self.generators.append(generator)
        return f"torch.generator{len(self.generators) - 1}"

    @staticmethod
    def key_of(generator: Any) -> int:
        """A number of the generator's state; changes with every draw."""
        return state_number(generator.get_state())

    def before(self, info: OpInfo, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        generator = kwargs.get("generator")
        for value in args:
            if isinstance(value, torch.Generator):
                generator = value
        if generator is None:
            generator = torch.default_generator
        if generator.device.type != "cpu":
            return None
        numbers = [float(v) for v in args if type(v) in (int, float)][:2]
        if info.name in ("randint", "randperm", "randn", "rand"):  # sizes are no parameters
            numbers = []
        return generator, self.key_of(generator), tuple(numbers + [0.0, 0.0])[:2]

    def after(self, before: Any, info: OpInfo, out: Any,
              path: Optional[str]) -> Optional[EventRef]:
        generator, key, parameters = before
        if self.key_of(generator) == key:  # nothing was drawn: evaluation, p = 0
            return None
        session = self.session
        outputs: List[torch.Tensor] = []
        collect(out, outputs)
        stream = self._stream(generator)
        consumer = session.modules.path if path is None else path
        recorder = session.recorder
        number = recorder.site("draw", session.phase, stream, "draw",
                               names=(stream, "mt19937", info.name, consumer),
                               parameters=parameters, source=session.source)
        tensor = outputs[-1] if outputs and obstacle(outputs[-1]) is None else None
        dense = None if tensor is None else readable(tensor)
        return recorder.event(
            number, key=key, count=0 if tensor is None else tensor.numel(),
            address=0 if dense is None else dense.data_ptr(),
            count_bytes=0 if dense is None else dense.numel() * dense.element_size())

    def end_step(self) -> None:
        """Where the default generator stands at the end of a step, whoever drew from it."""
        recorder = self.session.recorder
        number = recorder.site("draw", "data", "torch", "state",
                               names=("torch", "mt19937", "state", "end of step"))
        recorder.event(number, key=self.key_of(torch.default_generator))


def state_number(state: torch.Tensor) -> int:
    """64 bits of a generator's state."""
    import hashlib
    import ctypes
    raw = ctypes.string_at(state.data_ptr(), state.numel())
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


_LIBRARIES = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")} | {
    "/usr/lib/python3/dist-packages"})
_WRAPPERS = {"_call_impl", "_wrapped_call_impl", "__torch_dispatch__", "wrapped", "wrapper", "_fn",
             "decorate_context"}
_HERE = __file__.rsplit("/", 2)[0]


def source(cwd: str) -> str:
    """The calling program's stack: the frames of the user's files, innermost first, and before
    them the library function that was called. Paths relative to the project."""
    frame: Any = sys._getframe(1)
    lines: List[str] = []
    library = None
    while frame is not None and len(lines) < 24:
        code = frame.f_code
        name = code.co_filename
        if name.startswith(_HERE) or name.startswith("<frozen"):
            pass
        elif name.startswith(_LIBRARIES):
            if not lines and code.co_name not in _WRAPPERS:
                library = f"{code.co_name} at {short(name, cwd)}:{frame.f_lineno}"
        else:
            if library is not None:
                lines.append(library)
                library = None
            lines.append(f"{code.co_name} at {short(name, cwd)}:{frame.f_lineno}")
        frame = frame.f_back
    return "\n".join(lines or ([library] if library else []))


def short(name: str, cwd: str) -> str:
    """No absolute path: relative to the project, or its last two parts."""
    if name.startswith(cwd + "/") and not name.startswith(_LIBRARIES):
        return name[len(cwd) + 1:]
    return "/".join(name.rsplit("/", 2)[-2:]).lstrip("/")
