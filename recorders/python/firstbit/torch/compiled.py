# SPDX-License-Identifier: Apache-2.0
"""Compiled regions (torch.compile): one event for each output, made of the inputs.

While one runs, nothing that a recording replaces is in its place and no dispatch mode is active:
what is compiled, and its bits, are those of the program alone. So are its backward pass's.
"""

import functools
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

    def replace_compile(self) -> None:
        """Functions that the program compiles from here on; modules are known by themselves."""
        if not hasattr(torch, "compile"):
            return
        regions = self

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def compile_(model: Any = None, *args: Any, **kwargs: Any) -> Any:
                # A compiled module keeps the __call__ that it finds here, a function what it calls.
                made = regions.alone(original, _unhooked(model), *args, **kwargs)
                if model is None or isinstance(made, torch.nn.Module) or not callable(made):
                    return made
                call = regions.function if _takes_steps(model) else regions.call

                @functools.wraps(made)
                def compiled(*given: Any, **named: Any) -> Any:
                    if not regions.session.here():
                        return made(*given, **named)
                    return call(made, given, named)
                return compiled
            return compile_

        self.hooks._replace(torch, "compile", make)


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
