# SPDX-License-Identifier: Apache-2.0
"""Where a DataLoader's samples come from, and what a batch holds."""

import ctypes
import hashlib
import json
from typing import Any, List, Optional

import torch


def base_of(dataset: Any, indices: "Optional[List[int]]") -> "tuple[Any, Optional[List[int]]]":
    """What a subset is taken from, and its indices there: overlaps of subsets are visible so."""
    for _ in range(16):
        if not isinstance(dataset, torch.utils.data.Subset):
            break
        if indices is not None:
            indices = [int(dataset.indices[i]) for i in indices]
        dataset = dataset.dataset
    return dataset, indices


def loader_arguments(loader: Any) -> str:
    """How a DataLoader was made, as far as that decides which samples it gives."""
    sampler = getattr(loader, "sampler", None)
    told = {"batch_size": getattr(loader, "batch_size", None),
            "drop_last": getattr(loader, "drop_last", None),
            "sampler": None if sampler is None else type(sampler).__name__,
            "num_workers": getattr(loader, "num_workers", None),
            "length": _length(loader.dataset)}
    return json.dumps({name: value for name, value in told.items() if value is not None},
                      separators=(",", ":"))


def _length(dataset: Any) -> Optional[int]:
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):  # a stream
        return None


def digest(parts: "list[tuple[str, tuple, torch.Tensor]]") -> bytes:
    """Contents of a batch, with dtypes and shapes, in 32 bytes."""
    whole = hashlib.blake2b(digest_size=32)
    for dtype, shape, tensor in parts:
        count = tensor.numel() * tensor.element_size()
        whole.update(f"{dtype}{shape}".encode())
        if count:
            whole.update((ctypes.c_char * count).from_address(tensor.data_ptr()))
    return whole.digest()

