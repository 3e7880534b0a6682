# SPDX-License-Identifier: Apache-2.0
"""The random draws of NumPy's and Python's generators: the global ones, and the program's own.

Where ops are recorded each is an event: the state before, the distribution, the values that came.
Own generators are numbered in the order in which they are made or met: `numpy.generator0`. Where
one is made, its seed is an event; of one that only the system has seeded, everything is a note.
"""

import functools
import numbers
import os
import random
import sys
import sysconfig
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

import torch

from ..recorder import Contents, contents_of
from .draws import number_of, numpy_number, state_of_python
from .seeds import ClassMethods, Replace

if TYPE_CHECKING:
    from .session import Session

_KEPT_MAX = 16  # of the program's own, of each library
_DRAWS_MAX = 64  # of one generator in a step, which have events
_SEED_BITS = 64  # numbers that programs give have fewer; the system's have 128
_STDLIB = sysconfig.get_paths()["stdlib"] + os.sep
_TORCH = os.path.dirname(torch.__file__) + os.sep
_OF_SIZES = {"rand", "randn", "random", "random_sample", "standard_normal", "bytes", "permutation",
             "shuffle", "permuted", "standard_exponential"}  # their arguments are no parameters
_IN_PLACE = {"shuffle"}
_NO_DRAWS = {"seed", "get_state", "set_state", "getstate", "setstate", "spawn", "bit_generator",
             "VERSION"}


class _Kept:
    """The program's own generators of one library, by their numbers."""

    def __init__(self) -> None:
        self.generators: List[Any] = []
        self.numbers: Dict[int, int] = {}  # by id, the one that was met last at the end

    def number(self, generator: Any) -> Tuple[int, bool]:
        """And whether it is new: of more than are kept, the one that was not met for longest gives
        its number to the next."""
        number = self.numbers.pop(id(generator), None)
        new = number is None
        if new and len(self.generators) < _KEPT_MAX:
            number = len(self.generators)
            self.generators.append(generator)
        elif new:
            number = self.numbers.pop(next(iter(self.numbers)))
            self.generators[number] = generator
        assert number is not None
        self.numbers[id(generator)] = number
        return number, new


class HostDraws:
    """Of one session."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.kept = {"numpy": _Kept(), "python": _Kept()}
        self.drawn: Dict[str, int] = {}  # by stream, in this step
        self.inside = False  # a method of a generator calls others of it
        self.numpy: Any = None  # the module numpy.random, where there is one

    # --- Which generator --------------------------------------------------------------------------

    def library_of(self, generator: Any) -> str:
        return "python" if isinstance(generator, random.Random) else "numpy"

    def is_global(self, generator: Any) -> bool:
        return generator is random._inst or (  # type: ignore[attr-defined]
            self.numpy is not None and generator is self.numpy.mtrand._rand)

    def stream_of(self, generator: Any) -> str:
        """Its name. One that is met for the first time, made where nobody looked, is told by how it
        begins."""
        library = self.library_of(generator)
        if self.is_global(generator):
            return library
        number, new = self.kept[library].number(generator)
        stream = f"{library}.generator{number}"
        if new:
            self._begins(generator, stream)
        return stream

    def _begins(self, generator: Any, stream: str) -> None:
        session = self.session
        session.seeded.discard(stream)  # of the one that had this number before
        entropy = _entropy(generator)
        if isinstance(generator, random.Random) or (
                isinstance(entropy, int) and entropy.bit_length() > _SEED_BITS):
            return  # by the system, or nobody knows
        session.seeded.add(stream)
        if session.wants("data"):
            key = state_key(generator)
            if key is not None:
                session.recorder.seed(stream, key, algorithm=algorithm_of(generator), op="begins",
                                      source=session.calls)

    def made(self, generator: Any, seed: Any) -> None:
        """By the program, with this seed; None: with none."""
        session = self.session
        number, _ = self.kept[self.library_of(generator)].number(generator)
        stream = f"{self.library_of(generator)}.generator{number}"
        session.seeded.discard(stream)
        key: Optional[int] = None
        op = "seed"
        if isinstance(seed, numbers.Integral):
            key = int(seed)
        elif seed is not None:  # a text, an array, a sequence of seeds
            entropy = _entropy(generator)
            if isinstance(entropy, int) and entropy.bit_length() > _SEED_BITS:
                return
            key, op = state_key(generator), "begins"
        if key is None:
            return
        session.seeded.add(stream)
        if session.wants("data"):
            session.recorder.seed(stream, key, algorithm=algorithm_of(generator), op=op,
                                  source=session.calls)

    # --- Draws ------------------------------------------------------------------------------------

    def before(self, generator: Any) -> Optional[Tuple[str, int]]:
        """The stream and the generator's state; None: this draw has no event."""
        stream = self.stream_of(generator)
        count = self.drawn[stream] = self.drawn.get(stream, 0) + 1
        if count > _DRAWS_MAX:
            return None
        key = state_key(generator) if stream in self.session.seeded else 0
        return None if key is None else (stream, key)

    def after(self, before: Tuple[str, int], generator: Any, name: str, args: Tuple[Any, ...],
              kwargs: Dict[str, Any], out: Any) -> None:
        session = self.session
        stream, key = before
        note = stream not in session.seeded
        parameters = [] if name in _OF_SIZES else [
            float(v) for v in [*args, *(v for k, v in kwargs.items() if k != "size")]
            if type(v) in (int, float)]
        number = session.recorder.site(
            "draw", session.phase, stream, "draw", note=note,
            names=(stream, algorithm_of(generator), name, session.modules.path),
            parameters=tuple(parameters + [0.0, 0.0])[:2], source=session.calls)
        count, contents = _values(args[0] if name in _IN_PLACE and args else out)
        if note or contents is None:
            session.recorder.event(number, key=key, count=count)
        else:
            session.recorder.event(number, key=key, count=count, address=contents.address,
                                   count_bytes=contents.bytes)

    def states(self) -> "Dict[str, Tuple[int, int]]":
        """Where the program's own stand, by stream."""
        found = {}
        for library, kept in self.kept.items():
            for number, generator in enumerate(kept.generators):
                key = state_key(generator)
                if key is not None:
                    found[f"{library}.generator{number}"] = key, 0
        return found

    def end_step(self) -> None:
        self.drawn.clear()

    # --- Methods that are replaced ----------------------------------------------------------------

    def drawing(self, name: str, of: Any = None) -> Callable[[Any], Any]:
        """Makes a method of a class's generators one that records; of: a function that is one of
        this generator's methods."""
        session, host = self.session, self

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def draw(*args: Any, **kwargs: Any) -> Any:
                if host.inside or not session.ops or not session.here():
                    return original(*args, **kwargs)
                generator, given = (args[0], args[1:]) if of is None else (of, args)
                hidden = isinstance(generator, random.SystemRandom) or _is_of_library()
                host.inside = True
                try:
                    before = None if hidden else session.guarded(host.before, generator)
                    out = original(*args, **kwargs)
                finally:
                    host.inside = False
                if before is not None:
                    session.guarded(host.after, before, generator, name, given, kwargs, out)
                return out
            return draw
        return make

    def making(self, original: Any) -> Any:
        """numpy.random.default_rng."""
        session, host = self.session, self

        @functools.wraps(original)
        def default_rng(*args: Any, **kwargs: Any) -> Any:
            out = original(*args, **kwargs)
            seed = args[0] if args else kwargs.get("seed")
            if session.here() and out is not seed and not _is_of_library():
                session.guarded(host.made, out, seed)
            return out
        return default_rng

    def seeding(self, original: Any) -> Any:
        """random.Random.seed, which makes one too."""
        session, host = self.session, self

        @functools.wraps(original)
        def seed(generator: Any, *args: Any, **kwargs: Any) -> Any:
            out = original(generator, *args, **kwargs)
            if session.here() and not host.is_global(generator) and not isinstance(
                    generator, random.SystemRandom) and not _is_of_library():
                value = args[0] if args else kwargs.get("a")
                session.guarded(host.made, generator, value)
            return out
        return seed

    def replace_all(self, replace: Replace) -> None:
        """replace(owner, name, make): as Hooks._replace."""
        inherited = [name for name in ("random", "getrandbits") if hasattr(random.Random, name)]
        for name in _drawing_names(vars(random.Random)) + inherited:
            replace(random.Random, name, self.drawing(name))
        replace(random.Random, "seed", self.seeding)
        self._replace_functions(replace, random, random._inst)  # type: ignore[attr-defined]

        numpy = sys.modules.get("numpy.random")
        if numpy is None or not hasattr(numpy, "Generator") or not hasattr(numpy, "mtrand"):
            return
        self.numpy = numpy
        for cls in (numpy.Generator, numpy.RandomState):
            methods = ClassMethods(cls, _drawing_names(vars(cls)))
            for name in methods.names:
                replace(methods, name, self.drawing(name))
        self._replace_functions(replace, numpy, numpy.mtrand._rand)
        replace(numpy, "default_rng", self.making)

    def _replace_functions(self, replace: Replace, module: Any, generator: Any) -> None:
        """Those of a module that are methods of its own generator."""
        for name in _drawing_names(vars(module)):
            if getattr(vars(module)[name], "__self__", None) is generator:
                replace(module, name, self.drawing(name, generator))


def _drawing_names(held: Any) -> List[str]:
    return [name for name, value in held.items()
            if not name.startswith("_") and callable(value) and name not in _NO_DRAWS]


def _is_of_library() -> bool:
    """Whether PyTorch or Python's own library asks: for names of files, the order of a sampler."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename == random.__file__:
        frame = frame.f_back
    name = "" if frame is None else frame.f_code.co_filename
    return name.startswith(_TORCH) or (name.startswith(_STDLIB) and "-packages" + os.sep not in name)


def _bits(generator: Any) -> Any:
    """The bit generator of one of NumPy's."""
    return getattr(generator, "bit_generator", None) or generator._bit_generator


def _entropy(generator: Any) -> Any:
    """What NumPy has seeded a generator from; None: told by no sequence of seeds."""
    if isinstance(generator, random.Random):
        return None
    bits = _bits(generator)
    sequence = getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None)
    return getattr(sequence, "entropy", None)


def algorithm_of(generator: Any) -> str:
    if isinstance(generator, random.Random):
        return "mt19937"
    return type(_bits(generator)).__name__.lower()


def state_key(generator: Any) -> Optional[int]:
    """64 bits of a hash of a generator's state; None: it has none that can be told."""
    try:
        if isinstance(generator, random.Random):
            return state_of_python(generator)[0]
        if hasattr(generator, "get_state"):
            return numpy_number(generator.get_state(legacy=False))
        state = _bits(generator).state
        return numpy_number(state) if "state" in state else number_of(repr(state).encode())
    except (NotImplementedError, AttributeError, TypeError, ValueError):
        return None  # a generator of the system's, or of the program's own kind


def _values(out: Any) -> "Tuple[int, Optional[Contents]]":
    """How many came, and their contents where they are numbers."""
    if type(out) in (int, float) or (
            type(out) in (list, tuple) and all(type(v) in (int, float) for v in out)):
        return (1 if type(out) in (int, float) else len(out)), contents_of(repr(out).encode())
    if hasattr(out, "dtype") and "numpy" in sys.modules:
        array = sys.modules["numpy"].asarray(out)
        try:
            return array.size, contents_of(array)
        except TypeError:  # of texts, of objects
            return array.size, None
    if type(out) is bytes:
        return len(out), contents_of(out)
    return (len(out) if type(out) in (list, tuple) else 1), None
