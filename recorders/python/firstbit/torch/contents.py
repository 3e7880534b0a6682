# SPDX-License-Identifier: Apache-2.0
"""What a tensor's contents are, and which event made them. Called with dispatch modes off."""

from typing import Any, Callable, Dict, NamedTuple, Optional

import torch

from .. import _library as lib
from ..recorder import EventRef, Recorder

_NAMES = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16",
          "float8_e4m3fn": "f8e4m3", "float8_e5m2": "f8e5m2", "complex64": "c64",
          "complex128": "c128", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
          "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64", "bool": "bool"}
DTYPES = {getattr(torch, name): short for name, short in _NAMES.items() if hasattr(torch, name)}

if hasattr(torch.Tensor, "untyped_storage"):
    _storage_of = torch.Tensor.untyped_storage
else:  # before PyTorch 2
    _storage_of = torch.Tensor._storage
_expired = torch.UntypedStorage._expired
_free_weak_ref = torch.UntypedStorage._free_weak_ref


def version_of(tensor: torch.Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:  # inference tensors do not count
        return 0


def obstacle(tensor: torch.Tensor) -> Optional[str]:
    """Why the contents cannot be read, or None."""
    if tensor.layout is not torch.strided:
        return f"layout {str(tensor.layout)[6:]}"
    if tensor.dtype not in DTYPES:
        return f"dtype {str(tensor.dtype)[6:]}"
    if tensor.device.type == "meta" or tensor.dim() > lib.RANK_MAX:
        return "meta device" if tensor.device.type == "meta" else f"rank {tensor.dim()}"
    try:
        address = tensor.data_ptr()
    except RuntimeError:
        address = 0
    if address == 0 and tensor.numel() > 0:  # fake, wrapped, freed: there are no bytes to read
        return f"type {type(tensor).__name__} without memory"
    return None


def readable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself where its bytes are row-major in memory, else a copy. Changes nothing."""
    if tensor.is_complex() and tensor.is_conj():
        tensor = tensor.resolve_conj()
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if tensor.device.type != "cpu":
        tensor = tensor.detach().cpu()
    return tensor if tensor.is_contiguous() else tensor.detach().clone(
        memory_format=torch.contiguous_format)


class Maker(NamedTuple):
    """What made the contents of a storage."""

    weak: int            # reference to the storage
    versions: range      # of the storage, as long as nobody else has written to it
    ref: EventRef
    path: Optional[str]  # of the module; None for what the backward pass made
    param: bool          # a parameter or state
    number: int          # of the storage, in the order in which parameters were first seen; or 0


class Makers:
    """Which event made what a storage holds: by address, as long as the storage lives.

    A weak reference keeps an address from meaning two storages, so that neither the allocator's
    history nor garbage collection decides what a trace says.
    """

    def __init__(self) -> None:
        self._of: Dict[int, Maker] = {}
        self._limit = 1 << 14
        self._numbered = 0

    @staticmethod
    def _address(tensor: torch.Tensor) -> int:
        if tensor.layout is not torch.strided:
            return 0
        try:
            address = tensor.data_ptr()
        except RuntimeError:
            return 0
        return address and address - tensor.storage_offset() * tensor.element_size()

    def find(self, tensor: torch.Tensor) -> Optional[Maker]:
        """What made its contents; None where nobody saw that."""
        entry = self._of.get(self._address(tensor))
        if entry is None or version_of(tensor) not in entry.versions or _expired(entry.weak):
            return None
        return entry

    def put(self, tensor: torch.Tensor, ref: EventRef, path: Optional[str],
            written: bool = False, param: bool = False) -> None:
        """written: an op has just changed it in place; PyTorch counts that after the op returns to
        its caller, so the count of the present and the next one both belong to the event."""
        address = self._address(tensor)
        if address == 0:
            return
        entry = self._of.get(address)
        if entry is None or _expired(entry.weak):
            if entry is not None:
                _free_weak_ref(entry.weak)
            elif len(self._of) >= self._limit:
                self._sweep()
            weak, number = _storage_of(tensor)._weak_ref(), 0
        else:
            weak, number = entry.weak, entry.number
        version = version_of(tensor)
        self._of[address] = Maker(weak, range(version, version + 1 + written), ref, path, param,
                                  number)

    def number(self, tensor: torch.Tensor) -> int:
        """Of the storage that a parameter lies in: tied ones have the same."""
        address = self._address(tensor)
        entry = self._of.get(address)
        if entry is None or _expired(entry.weak):
            return 0
        if entry.number == 0:
            self._numbered += 1
            entry = self._of[address] = entry._replace(number=self._numbered)
        return entry.number

    def _sweep(self) -> None:
        for address, entry in list(self._of.items()):
            if _expired(entry.weak):
                _free_weak_ref(entry.weak)
                del self._of[address]
        self._limit = max(1 << 14, 2 * len(self._of))

    def clear(self) -> None:
        for entry in self._of.values():
            _free_weak_ref(entry.weak)
        self._of.clear()


def record_tensor(recorder: Recorder, makers: Makers, tensor: torch.Tensor, kind: str, phase: str,
                  path: str, op: str, slot: str, inputs: "list[EventRef]",
                  source: Optional[Callable[[], str]],
                  left_out: Dict[str, int], undefined: bool = False,
                  written: bool = False, arguments: str = "") -> EventRef:
    """One event for a tensor, which from here on is what made its contents."""
    reason = obstacle(tensor)
    if reason is not None:
        left_out[reason] = left_out.get(reason, 0) + 1
        number = recorder.site("tensor", phase, path, op, slot, dtype="u8", arguments=arguments,
                               source=source)
        return recorder.event(number, flags=lib.UNDEFINED, inputs=inputs)
    number = recorder.site(kind, phase, path, op, slot, dtype=DTYPES[tensor.dtype],
                           shape=tuple(tensor.shape), arguments=arguments, source=source)
    if undefined:
        ref = recorder.event(number, flags=lib.UNDEFINED, inputs=inputs)
    else:
        dense = readable(tensor)
        count = dense.numel() * dense.element_size()
        storage = 0
        if kind == "param":
            makers.put(tensor, recorder.ref(number), path.rpartition(".")[0], written, True)
            storage = makers.number(tensor)
        # An empty tensor has an address of 0: any other address says that its contents are known.
        ref = recorder.event(number, address=dense.data_ptr() or 8, count_bytes=count,
                             version=version_of(tensor), storage=storage, inputs=inputs)
    if kind != "param":
        makers.put(tensor, ref, None if phase == "backward" else path, written)
    return ref


def tensors_in(value: Any, depth: int = 0) -> "list[torch.Tensor]":
    """The tensors of a batch, in a stable order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if depth > 8:
        return []
    if isinstance(value, dict):
        value = list(value.values())
    elif hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name) for name in value.__dataclass_fields__]
    if isinstance(value, (list, tuple)):
        return [t for item in value for t in tensors_in(item, depth + 1)]
    return []
