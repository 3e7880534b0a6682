# SPDX-License-Identifier: Apache-2.0
"""What a tensor's contents are. Called with dispatch modes off."""

from collections.abc import Mapping
from typing import Any, Dict, Optional, Tuple

import torch

from .. import _library as lib

_NAMES = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16",
          "float8_e4m3fn": "f8e4m3", "float8_e5m2": "f8e5m2", "complex64": "c64",
          "complex128": "c128", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
          "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64", "bool": "bool"}
DTYPES = {getattr(torch, name): short for name, short in _NAMES.items() if hasattr(torch, name)}

if hasattr(torch.Tensor, "untyped_storage"):
    storage_of = torch.Tensor.untyped_storage
else:  # before PyTorch 2
    storage_of = torch.Tensor._storage


def version_of(tensor: torch.Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:  # inference tensors do not count
        return 0


def address_of(tensor: torch.Tensor) -> int:
    """Where its storage begins; 0 where it has no memory."""
    if tensor.layout is not torch.strided:
        return 0
    try:
        address = tensor.data_ptr()
    except RuntimeError:
        return 0
    return address and address - tensor.storage_offset() * tensor.element_size()


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This process's share of a tensor that lies in several (DTensor), else the tensor."""
    share = getattr(tensor, "_local_tensor", None)
    return share if isinstance(share, torch.Tensor) else tensor


def obstacle(tensor: torch.Tensor) -> Optional[str]:
    """Why the contents cannot be read, or None."""
    if tensor.is_nested:
        return "nested"
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
    if tensor.numel() > 0 and (address == 0 or tensor.device.type == "cpu" and _is_freed(tensor)):
        return f"type {type(tensor).__name__} without memory"  # fake, wrapped, freed
    return None


def _is_freed(tensor: torch.Tensor) -> bool:
    """Its storage holds nothing, or less than it shows: one of a DTensor, or that was resized, as
    FullyShardedDataParallel does. Its address is then any number."""
    last = tensor.storage_offset() + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    try:
        storage = storage_of(tensor)
        return storage.data_ptr() == 0 or storage.nbytes() < (last + 1) * tensor.element_size()
    except (RuntimeError, NotImplementedError):
        return True


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


def look(tensor: torch.Tensor,
         left_out: Dict[str, int]) -> "Optional[Tuple[int, Tuple[int, ...], int, int, Any]]":
    """Number of the dtype, shape, address and bytes of the row-major contents, and what keeps these
    alive. None where they cannot be read; left_out counts why."""
    reason = obstacle(tensor)
    if reason is not None:
        left_out[reason] = left_out.get(reason, 0) + 1
        return None
    dense = readable(tensor)
    return (lib.DTYPES[DTYPES[tensor.dtype]], tuple(tensor.shape), dense.data_ptr(),
            dense.numel() * dense.element_size(), dense)


def tensors_in(value: Any, depth: int = 0) -> "list[torch.Tensor]":
    """The tensors of a batch, in a stable order: that of their keys where these are named, so that
    a collator may fill its dictionary in any order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if depth > 8:
        return []
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value, key=str)]
    elif hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name) for name in value.__dataclass_fields__]
    if isinstance(value, (list, tuple)):
        return [t for item in value for t in tensors_in(item, depth + 1)]
    return []
