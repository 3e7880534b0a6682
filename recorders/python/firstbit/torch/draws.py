# SPDX-License-Identifier: Apache-2.0
"""The random draws of ops."""

import ctypes
import functools
import hashlib
import sys
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import torch

from ..recorder import EventRef
from .contents import obstacle, readable
from .ops import OpInfo, collect

if TYPE_CHECKING:
    from .session import Session


_GENERATORS_MAX = 16  # of the program's own, that are kept


class Draws:
    """Random numbers: the generator's state before, and the values that came."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.generators: List[Any] = []  # of the program's own, by their numbers
        self.numbers: Dict[int, int] = {}  # by what PyTorch knows them by
        self.states: Dict[str, Tuple[int, int]] = {}  # by stream, at the end of the last step

    def stream_of(self, generator: Any) -> str:
        """Its name, of which the program's own have numbers in the order in which they are met. Of
        many, the one that was not met for longest gives its number to the next. One generator may
        have several Python objects."""
        if generator is None or generator._cdata == torch.default_generator._cdata:
            return "torch"
        number = self.numbers.pop(generator._cdata, None)
        if number is None and len(self.generators) < _GENERATORS_MAX:
            number = len(self.generators)
            self.generators.append(generator)
        elif number is None:
            number = self.numbers.pop(next(iter(self.numbers)))
            self.generators[number] = generator
        self.numbers[generator._cdata] = number  # the latest is the last
        return f"torch.generator{number}"

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
              path: str) -> Optional[EventRef]:
        generator, key, parameters = before
        if self.key_of(generator) == key:  # nothing was drawn: evaluation, p = 0
            return None
        session = self.session
        outputs: List[torch.Tensor] = []
        collect(out, outputs)
        stream = self.stream_of(generator)
        recorder = session.recorder
        number = recorder.site("draw", session.phase, stream, "draw",
                               names=(stream, "mt19937", info.name, path),
                               parameters=parameters, source=session.calls)
        tensor = outputs[-1] if outputs and obstacle(outputs[-1]) is None else None
        dense = None if tensor is None else readable(tensor)
        return recorder.event(
            number, key=key, count=0 if tensor is None else tensor.numel(),
            address=0 if dense is None else dense.data_ptr(),
            count_bytes=0 if dense is None else dense.numel() * dense.element_size())

    def end_step(self, changed: bool = False) -> None:
        """Where generators stand at the end of a step, whoever drew from them: the default ones,
        and those of the program's own that are known and have moved since the end of the last one.
        changed: of the default ones too only these."""
        found = {"torch": (self.key_of(torch.default_generator), 0), "python": python_state(),
                 "numpy": numpy_state()}
        found.update((f"torch.generator{i}", (self.key_of(generator), 0))
                     for i, generator in enumerate(self.generators))
        found.update(self.session.host_draws.states())
        for stream, state in found.items():
            still = self.states.get(stream) == state and (changed or "." in stream)
            if state is not None and not still:
                self.states[stream] = state
                self._state(stream, *state)

    def _state(self, stream: str, key: int, position: int) -> None:
        """The system seeds a generator unless the program does: of one that was not seen to be
        seeded, only the position within its 624 numbers is told, as a note. That PyTorch's was
        seeded before the recording shows: the system gives it a number of 64 bits."""
        known = stream in self.session.seeded or stream.startswith("torch.") or (
            stream == "torch" and torch.default_generator.initial_seed() < 1 << 32)
        recorder, note = self.session.recorder, not known
        number = recorder.site("draw", "data", stream, "state", note=note,
                               names=(stream, "mt19937", "state", "end of step"))
        recorder.event(number, key=0 if note else key, counter=position if note else 0)


def state_number(state: torch.Tensor) -> int:
    """64 bits of a generator's state."""
    return number_of(ctypes.string_at(state.data_ptr(), state.numel()))


@functools.lru_cache(maxsize=16)  # a state is looked at again before the next draw
def number_of(raw: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


def python_state() -> Optional[Tuple[int, int]]:
    """Number of the state of Python's own generator, and its position; None where there is none."""
    module = sys.modules.get("random")
    return None if module is None else state_of_python(module)


def state_of_python(generator: Any) -> Tuple[int, int]:
    """Of any generator of Python's."""
    _, state, gauss = generator.getstate()
    key = number_of(b"%d %r" % (hash(state), gauss))  # of integers: the same in every process
    return key, state[-1]


def numpy_state() -> Optional[Tuple[int, int]]:
    """Of NumPy's global generator, as of `python_state`."""
    module = sys.modules.get("numpy.random")
    if module is None:
        return None
    state = module.get_state(legacy=False)
    return numpy_number(state), state["state"].get("pos", 0)


def numpy_number(state: Dict[str, Any]) -> int:
    """Of the state of a generator of NumPy's, of any kind."""
    inner = state["state"]
    if "key" in inner and "pos" in inner:
        return number_of(inner["key"].tobytes() + b"%d %d" % (
            inner["pos"], state.get("has_gauss", 0)))
    return number_of(repr(sorted(state.items(), key=lambda item: item[0])).encode())
