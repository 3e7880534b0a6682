# SPDX-License-Identifier: Apache-2.0
"""Compiled regions (torch.compile): one event for each output, made of the inputs.

While one runs, nothing that a recording replaces is in its place and no dispatch mode is active:
what is compiled, and its bits, are those of the program alone. So are its backward pass's.
"""

import functools
import gc
import sys
import types
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Tuple

import torch

from .. import _library as lib
from ..recorder import EventRef
from .contents import tensors_in, version_of

if TYPE_CHECKING:
    from .hooks import Hooks


def is_compiled(module: torch.nn.Module) -> bool:
    # In its dictionary: what a module lacks is looked for at length, before PyTorch 2.
    return (module.__dict__.get("_compiled_call_impl") is not None or
            type(module).__name__ == "OptimizedModule")


class Regions:
    """Calls compiled regions, and backward passes that may run compiled code."""

    def __init__(self, hooks: "Hooks") -> None:
        self.hooks, self.session = hooks, hooks.session
        self.inside = False
        self.any = False  # one has been called: a backward pass may be compiled code
        self.changed: List[Tuple[Any, Any, Any]] = []  # functions, and the code that they had

    def alone(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls it as if nobody recorded."""
        if self.inside:
            return call(*args, **kwargs)
        self.inside = True
        self.hooks.suspend()
        resume = self.session.pause()
        try:
            return call(*args, **kwargs)
        finally:
            if resume:
                self.session.resume()
            self.hooks.resume()
            self.inside = False

    def call(self, call: Callable[..., Any], args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        session = self.session
        if self.inside:
            return call(*args, **kwargs)
        self.any = True
        inputs = session.guarded(self._inputs, args, kwargs) if session.ops else None
        out = self.alone(call, *args, **kwargs)
        if inputs is not None and session.ops:
            session.guarded(self._outputs, out, inputs)
        return out

    def function(self, call: Callable[..., Any], args: Tuple[Any, ...],
                 kwargs: Dict[str, Any]) -> Any:
        """A compiled function, in which optimizers may take their step: their parameters tell."""
        session = self.session
        before = [(optimizer, _versions(optimizer)) for optimizer in session.optimizers]
        out = self.call(call, args, kwargs)
        for optimizer, versions in before if session.here() else ():
            if _versions(optimizer) != versions:
                session.guarded(session.updates.before, optimizer)
                session.guarded(session.updates.after, optimizer)
                session.updated(optimizer)
        return out

    def backward(self, call: Callable[..., Any], args: Tuple[Any, ...],
                 kwargs: Dict[str, Any]) -> Any:
        session = self.session
        if not self.any:
            return call(*args, **kwargs)
        if session.ops:
            what = "the ops of a backward pass through compiled regions"
            session.left_out[what] = session.left_out.get(what, 0) + 1
        return self.alone(call, *args, **kwargs)

    def _inputs(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> List[EventRef]:
        session, refs = self.session, []
        for i, tensor in enumerate(tensors_in([list(args), kwargs])):
            made = session.core.find(tensor)
            if made is None and not session.is_nothing(tensor):
                made = session.core.record(tensor, lib.KINDS["tensor"], session.phase,
                                           session.modules.path, "compiled", f"in{i}", [], True)
            if made is not None:
                refs.append(made)
        return refs

    def _outputs(self, out: Any, inputs: List[EventRef]) -> None:
        session = self.session
        for i, tensor in enumerate(tensors_in(out)):
            session.core.record(tensor, lib.KINDS["tensor"], session.phase, session.modules.path,
                                "compiled", "out" if i == 0 else f"out{i}", inputs, True)

    # --- Compiled functions -----------------------------------------------------------------------

    def replace_compile(self) -> None:
        """Functions that the program has compiled, and those that it compiles from here on; modules
        are known by themselves."""
        if not hasattr(torch, "compile"):
            return
        self._change(torch.compile, self._compile)
        file = getattr(sys.modules.get("torch._dynamo.eval_frame"), "__file__", None)
        for found in gc.get_objects() if file is not None else ():
            if type(found) is types.FunctionType and found.__code__.co_filename == file:
                self._adopt(found)

    def _compile(self, original: Any, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        if self.inside or not self.session.active:
            return original(*args, **kwargs)
        # A compiled module keeps the __call__ that it finds here, a function what it calls.
        made = self.alone(original, *map(_unhooked, args), **kwargs)
        self._adopt(made)
        return made

    def _adopt(self, function: Any) -> None:
        """Makes a function that PyTorch has compiled a region."""
        if type(function) is not types.FunctionType or not _is_entry(function):
            return
        region = self.function if _takes_steps(function._torchdynamo_orig_callable) else self.call

        def enter(original: Any, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
            if not self.session.here():
                return original(*args, **kwargs)
            return region(original, args, kwargs)

        self._change(function, enter)

    def _change(self, function: Any, call: Callable[..., Any]) -> None:
        """The function calls `call` from here on, with a copy of what it was, whoever holds it and
        by whatever name: it gets other code."""
        code, defaults = function.__code__, function.__kwdefaults__
        original = types.FunctionType(code, function.__globals__, function.__name__,
                                      function.__defaults__, function.__closure__)
        original.__kwdefaults__ = defaults
        function.__code__ = _changed.__code__.replace(co_freevars=code.co_freevars)
        function.__kwdefaults__ = {"_firstbit": functools.partial(call, original)}
        self.changed.append((function, code, defaults))

    def leave_functions(self) -> None:
        """Gives compiled functions their code back."""
        for function, code, defaults in self.changed:
            function.__code__, function.__kwdefaults__ = code, defaults
        self.changed.clear()


def _changed(*args: Any, _firstbit: Any = None, **kwargs: Any) -> Any:
    return _firstbit(args, kwargs)


def _is_entry(function: Any) -> bool:
    """Whether it leads into compiled code, and is not a region yet."""
    known = function.__dict__
    return ("_torchdynamo_orig_callable" in known and not known.get("_torchdynamo_disable") and
            function.__code__.co_name in ("_fn", "compile_wrapper"))


def _unhooked(function: Any) -> Any:
    """`optimizer.step` as it is without a recording."""
    original = getattr(getattr(function, "__func__", None), "__wrapped__", None)
    if original is not None and isinstance(function.__self__, torch.optim.Optimizer):
        return original.__get__(function.__self__)
    return function


def _takes_steps(function: Any) -> bool:
    """Whether an optimizer's step() is, or may be, called in it."""
    code = getattr(function, "__code__", None)
    return (isinstance(getattr(function, "__self__", None), torch.optim.Optimizer) or
            code is not None and "step" in code.co_names)


def _versions(optimizer: torch.optim.Optimizer) -> List[int]:
    """How often its parameters were written to."""
    return [version_of(parameter) for group in optimizer.param_groups
            for parameter in group["params"]]
