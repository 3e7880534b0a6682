# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint holds of the training, and what a run begins with that has read one.

Both are notes at every level, a hash for each tensor: op `save` for parameters, buffers, states of
optimizers and PyTorch's generator within what `torch.save` is given, op `restore` for all of them
as training begins behind a `torch.load`, or as they are given back later. So a run that goes on
from a checkpoint is found in the run that made it, wherever that was.
"""

import functools
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import torch

from .. import _library as lib
from .contents import DTYPES, address_of, local, look, obstacle

if TYPE_CHECKING:
    from .session import Session

_DEPTH_MAX = 16  # of what is saved
_TENSORS_MAX = 1 << 16
SAVE, RESTORE = "save", "restore"


class Part(NamedTuple):
    """A tensor of the training."""

    path: str
    slot: str
    tensor: torch.Tensor


class Saved:
    """Of one session."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.read_in = -1  # the step in which a file was read last

    # --- What the training is ---------------------------------------------------------------------

    def _learned(self) -> List[Part]:
        session = self.session
        modules = [Part(name, "param", tensor)
                   for name, tensor in session.modules.parameters()]
        buffers = [Part(name, "buffer", tensor) for name, tensor in session.modules.buffers()]
        return modules + buffers

    def _held(self, optimizers: "List[torch.optim.Optimizer]") -> List[Part]:
        """Parameters that optimizers hold, and their states."""
        found = []
        for optimizer in optimizers:
            for name, parameter in self.session.parameters_of(optimizer):
                found.append(Part(name, "param", parameter))
                state = optimizer.state.get(parameter, {})
                found += [Part(name, str(key), state[key]) for key in sorted(state, key=str)
                          if isinstance(state[key], torch.Tensor)]
        return found

    def _all(self) -> List[Part]:
        unique = {id(part.tensor): part
                  for part in self._held(self.session.optimizers) + self._learned()}
        return list(unique.values())

    def _note(self, part: Part, op: str) -> None:
        """An event beside the flow of data: what made the tensor is what it was."""
        session = self.session
        tensor = local(part.tensor)
        if obstacle(tensor) is not None:
            return
        seen = look(tensor, session.left_out)
        if seen is None:
            return
        _, shape, address, count, _owner = seen
        recorder = session.recorder
        number = recorder.site("param", "checkpoint", part.path, op, part.slot,
                               dtype=DTYPES[tensor.dtype], shape=shape, source=session.calls)
        recorder.event(number, address=address or 8, count_bytes=count)

    # --- Saving -----------------------------------------------------------------------------------

    def saving(self, what: Any) -> None:
        """`what` is about to be written to a file."""
        held = list(_tensors(what))
        if not held:
            return
        whole = Match(self._all())
        generator = torch.default_generator.get_state()
        for key, tensor in held:
            part = whole.of(key, tensor)
            if part is not None:
                self._note(part._replace(tensor=tensor), SAVE)
            elif _is_state(tensor, generator):
                self._note(Part("torch", "state", tensor), SAVE)

    # --- Restoring --------------------------------------------------------------------------------

    def reading(self) -> None:
        """A file is read."""
        self.read_in = self.session.recorder.current_step

    def training_begins(self) -> None:
        """Step 0 ends. Where it read a file: all that the training begins with."""
        if self.read_in == 0:
            for part in self._all():
                self._note(part, RESTORE)

    def _is_restoring(self) -> bool:
        """Whether what is given back now comes from a file, and training has begun."""
        step = self.session.recorder.current_step
        return step > 0 and 0 <= self.read_in >= step - 1

    def restored(self, what: Any) -> None:
        """A module or optimizer has been given a state."""
        if not self._is_restoring():
            return
        if isinstance(what, torch.optim.Optimizer):
            parts = self._held([what])
        else:
            own = {id(t) for t in what.parameters()} | {id(t) for t in what.buffers()}
            parts = [part for part in self._learned() if id(part.tensor) in own]
        for part in parts:
            self._note(part, RESTORE)

    def generator_restored(self) -> None:
        if self.read_in >= 0:
            self._note(Part("torch", "state", torch.default_generator.get_state()), RESTORE)

    # --- Files of other packages ------------------------------------------------------------------

    def replace_safetensors(self, replace: "Callable[[Any, str, Callable[[Any], Any]], None]",
                            ) -> None:
        """Where the program uses them already: what they write passes through one function."""
        module = sys.modules.get("safetensors.torch")
        if not callable(getattr(module, "_flatten", None)):
            return
        session = self.session

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def flatten(tensors: Any, *args: Any, **kwargs: Any) -> Any:
                if session.here():
                    session.guarded(self.saving, tensors)
                return original(tensors, *args, **kwargs)
            return flatten

        replace(module, "_flatten", make)


class Match:
    """Finds the part of the training that a saved tensor is: the same memory, or, of a copy, the
    same name and contents."""

    def __init__(self, parts: List[Part]) -> None:
        self._lying: Dict[Tuple[int, Tuple[int, ...]], Part] = {}
        self._named: Dict[str, List[Part]] = {}
        for part in parts:
            self._lying.setdefault(_place(part.tensor), part)
            last = part.path.rpartition(".")[2] if part.slot in ("param", "buffer") else part.slot
            self._named.setdefault(last, []).append(part)

    def of(self, key: str, tensor: torch.Tensor) -> Optional[Part]:
        found = self._lying.get(_place(tensor))
        if found is not None and found.tensor.dtype == tensor.dtype:
            return found
        for part in self._named.get(key.rpartition(".")[2], ()):
            if part.slot in ("param", "buffer") and part.path != key and (
                    not part.path.endswith("." + key)):
                continue
            if part.tensor.shape == tensor.shape and part.tensor.dtype == tensor.dtype and (
                    obstacle(part.tensor) is None and obstacle(tensor) is None
                    and part.tensor.device == tensor.device and torch.equal(part.tensor, tensor)):
                return part
        return None


def _place(tensor: torch.Tensor) -> Tuple[int, Tuple[int, ...]]:
    tensor = local(tensor)
    if tensor.numel() == 0 or address_of(tensor) == 0:
        return id(tensor), (-1,)
    return tensor.data_ptr(), tuple(tensor.shape)


def _is_state(tensor: torch.Tensor, generator: torch.Tensor) -> bool:
    return (tensor.dtype == torch.uint8 and tensor.shape == generator.shape
            and tensor.device.type == "cpu" and torch.equal(tensor, generator))


def _tensors(what: Any) -> "Iterator[Tuple[str, torch.Tensor]]":
    """The tensors of a checkpoint, each with the name that it has there."""
    waiting: List[Tuple[str, Any, int]] = [("", what, 0)]
    count = 0
    while waiting and count < _TENSORS_MAX:
        key, value, depth = waiting.pop()
        if isinstance(value, torch.Tensor):
            count += 1
            yield key, value
        elif depth <= _DEPTH_MAX:
            waiting += [(name, item, depth + 1) for name, item in reversed(_items(key, value))
                        if not isinstance(item, (int, float, str, bytes))]


def _items(key: str, value: Any) -> "List[Tuple[str, Any]]":
    """What it consists of, in order, each with its name."""
    if isinstance(value, torch.nn.Module):
        return [*value.named_parameters(), *value.named_buffers()]
    if isinstance(value, torch.optim.Optimizer):
        return [(str(name), state) for held in value.state.values() for name, state in held.items()]
    if isinstance(value, Mapping):
        return [(str(name), item) for name, item in value.items()]
    return [(key, item) for item in value] if isinstance(value, (list, tuple)) else []
