# SPDX-License-Identifier: Apache-2.0
"""Where the program seeds a generator, or puts one into a state: PyTorch's, NumPy's, Python's.

Both are events of every step, with their place. A state that is put back is known by a hash of it;
where that changes nothing there is no event.
"""

import ctypes
import functools
import gc
import os
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence, Tuple

import torch

from .draws import numpy_state, python_state

if TYPE_CHECKING:
    from .session import Session

_TORCH = os.path.dirname(torch.__file__) + os.sep
_MT = "mt19937"

Replace = Callable[[Any, str, Callable[[Any], Any]], None]


class Seeds:
    """Of one session."""

    def __init__(self, session: "Session") -> None:
        self.session = session

    def seeded(self, stream: str, value: int) -> None:
        """With a number that the program gave, or took."""
        session = self.session
        session.seeded.add(stream)
        if session.wants("data"):
            session.recorder.seed(stream, value, algorithm=_MT, source=session.calls)

    def put(self, stream: str, before: Optional[int], after: Optional[int], known: bool) -> None:
        """Into another state, by its number. known: the same one in every run; else it is a note."""
        session = self.session
        if known:
            session.seeded.add(stream)
        if after is not None and after != before and session.wants("data"):
            session.recorder.seed(stream, after, algorithm=_MT, op="set_state",
                                  note=stream not in session.seeded, source=session.calls)

    # --- Python's and NumPy's ---------------------------------------------------------------------

    def replace_module(self, replace: Replace, module: Any, stream: str, names: Tuple[str, str],
                       state: "Callable[[], Optional[Tuple[int, int]]]") -> None:
        """names: of the functions that seed, and that set a state."""
        session = self.session

        def number() -> Optional[int]:
            found = state()
            return None if found is None else found[0]

        def seeding(original: Any) -> Any:
            @functools.wraps(original)
            def seed(*args: Any, **kwargs: Any) -> Any:
                here = session.here()
                value = args[0] if args else next(iter(kwargs.values()), None)
                if here and isinstance(value, int):
                    session.guarded(self.seeded, stream, value)
                before = session.guarded(number) if here else None
                out = original(*args, **kwargs)
                if here and value is not None and not isinstance(value, int):  # a text, an array
                    session.guarded(self.put, stream, before, session.guarded(number), True)
                return out
            return seed

        def putting(original: Any) -> Any:
            @functools.wraps(original)
            def set_state(*args: Any, **kwargs: Any) -> Any:
                here = session.here() and not _called_by_torch()
                before = session.guarded(number) if here else None
                out = original(*args, **kwargs)
                if here:
                    session.guarded(self.put, stream, before, session.guarded(number), False)
                return out
            return set_state

        replace(module, names[0], seeding)
        replace(module, names[1], putting)

    # --- PyTorch's --------------------------------------------------------------------------------

    def of_generator(self, original: Any) -> Any:
        """A method of torch.Generator. What PyTorch calls itself is not the program's: samplers
        seed generators of their own, and fork_rng() puts states back."""
        session, name = self.session, original.__name__

        @functools.wraps(original)
        def method(generator: Any, *args: Any, **kwargs: Any) -> Any:
            here = session.here() and not _called_by_torch() and generator.device.type == "cpu"
            key_of = session.draws.key_of
            before = session.guarded(key_of, generator) if here else None
            out = original(generator, *args, **kwargs)
            if here:
                stream = session.draws.stream_of(generator)
                if name == "set_state":
                    session.guarded(self.put, stream, before, key_of(generator), True)
                else:
                    session.guarded(self.seeded, stream, generator.initial_seed())
            return out
        return method

    def of_default(self, original: Any) -> Any:
        """torch.manual_seed, torch.seed, torch.set_rng_state: of the default generator."""
        session, name = self.session, original.__name__

        @functools.wraps(original)
        def function(*args: Any, **kwargs: Any) -> Any:
            # PyTorch itself puts states back: of checkpointed activations, in fork_rng().
            here = session.here() and not (name == "set_rng_state" and _called_by_torch())
            default = torch.default_generator
            before = session.guarded(session.draws.key_of, default) if here else None
            if here and name == "set_rng_state":
                session.guarded(session.checkpoint, "torch", name)
            out = original(*args, **kwargs)
            if here and name == "set_rng_state":
                session.guarded(session.saved.generator_restored)
                session.guarded(self.put, "torch", before,
                                session.guarded(session.draws.key_of, default),
                                default.initial_seed() < 1 << 32)
            elif here:
                session.guarded(self.seeded, "torch", default.initial_seed())
            return out
        return function


def _called_by_torch() -> bool:
    """Whether the function that asks was called by PyTorch, not by the program."""
    return sys._getframe(2).f_code.co_filename.startswith(_TORCH)


class _Methods:
    """The methods of a class that is written in C, whose attributes Python does not set."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        held = [d for d in gc.get_referents(vars(cls)) if type(d) is dict]
        self.held: Dict[str, Any] = held[0] if len(held) == 1 else {}

    def put(self, name: str, method: Any) -> None:
        self.held[name] = method
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(self.cls))


class ClassMethods:
    """Methods of such a class, as attributes: what `Hooks._replace` replaces and puts back."""

    def __init__(self, cls: type, wanted: Sequence[str]) -> None:
        methods = _Methods(cls)
        self.__dict__["names"] = names = [name for name in wanted if name in methods.held]
        self.__dict__.update({name: methods.held[name] for name in names})
        self._methods = methods

    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value
        if name != "_methods":
            self._methods.put(name, value)


def replace_all(session: "Session", replace: Replace) -> None:
    """replace(owner, name, make): as Hooks._replace."""
    import random

    seeds = Seeds(session)
    for name in ("manual_seed", "seed", "set_rng_state"):
        one = getattr(torch.random, name) is getattr(torch, name)  # torch.compile parts the two
        replace(torch, name, seeds.of_default)
        replace(torch.random, name,
                (lambda _, name=name: getattr(torch, name)) if one else seeds.of_default)
    generator = ClassMethods(torch._C.Generator, ("manual_seed", "seed", "set_state"))
    for name in generator.names:
        replace(generator, name, seeds.of_generator)
    seeds.replace_module(replace, random, "python", ("seed", "setstate"), python_state)
    numpy: Optional[Any] = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        seeds.replace_module(replace, numpy.random, "numpy", ("seed", "set_state"), numpy_state)
