# SPDX-License-Identifier: Apache-2.0
"""Collectives that the program calls by name: one event for each tensor that it gets."""

import ctypes
import functools
import json
from typing import TYPE_CHECKING, Any, Callable, Dict, List

import torch

from .contents import DTYPES, look, tensors_in
from .ops import collect
from .. import _library as lib

if TYPE_CHECKING:
    from .session import Session

# By name, the place of the argument that is written to, and its name.
_WRITTEN = {"all_reduce": (0, "tensor"), "broadcast": (0, "tensor"), "reduce": (0, "tensor"),
            "all_gather": (0, "tensor_list"), "gather": (1, "gather_list"),
            "scatter": (0, "tensor"), "reduce_scatter": (0, "output"),
            "all_to_all": (0, "output_tensor_list"), "all_to_all_single": (0, "output"),
            "recv": (0, "tensor"), "_all_gather_base": (0, "output_tensor"),
            "_reduce_scatter_base": (0, "output"), "all_gather_into_tensor": (0, "output_tensor"),
            "reduce_scatter_tensor": (0, "output")}

_held: Dict[int, torch.Tensor] = {}
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_held))  # never emptied by the interpreter's end


def hold(args: Any, kwargs: Any) -> None:
    """Keeps the tensors of a collective until its process group has dropped them.

    That the dispatch mode saw a tensor gave it a Python object. Were that left to the group, its
    thread would need the interpreter's lock to drop the tensor, while whoever ends the group may
    wait for that thread with the lock in hand. With a reference in here the thread only counts.
    """
    for tensor in [t for t in _held.values() if _references(t) <= 1]:
        _held.pop(id(tensor), None)
    found: List[torch.Tensor] = []
    collect([*args, *kwargs.values()], found)
    _held.update((id(tensor), tensor) for tensor in found)


def _references(tensor: torch.Tensor) -> int:
    """How many hold it outside of Python, and one for its Python object."""
    if hasattr(tensor, "_use_count"):
        return tensor._use_count()
    # Before PyTorch 2.1 the count is the second word of what the tensor's object points to.
    return ctypes.c_size_t.from_address(tensor._cdata + 8).value


def replace_all(session: "Session", replace: Callable[[Any, str, Any], None]) -> None:
    """replace(owner, name, make): as Hooks._replace."""
    distributed = getattr(torch, "distributed", None)
    if distributed is None or not distributed.is_available():
        return

    def make(original: Any) -> Any:
        at, argument = _WRITTEN[original.__name__]
        depth: List[int] = [0]  # some are made of others

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            depth[0] += 1
            try:
                work = original(*args, **kwargs)
            finally:
                depth[0] -= 1
            if session.here() and depth[0] == 0:
                written = args[at] if len(args) > at else kwargs.get(argument)
                session.guarded(_record, session, original.__name__, written,
                                _operation(original.__name__, args, kwargs),
                                work is not None and kwargs.get("async_op", False))
            return work
        return call

    for name in _WRITTEN:
        if hasattr(distributed, name):
            replace(distributed, name, make)


def _operation(name: str, args: Any, kwargs: Any) -> str:
    """What a reduction does: "sum"."""
    if "reduce" not in name:
        return ""
    kinds = torch.distributed.ReduceOp
    for value in [*args, *kwargs.values()]:
        if type(value).__name__ in ("ReduceOp", "RedOpType"):
            return next((kind.lower() for kind in ("SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND",
                                                   "BOR", "BXOR")
                         if hasattr(kinds, kind) and value == getattr(kinds, kind)), "other")
    return "sum"


def _record(session: "Session", op: str, written: Any, operation: str, pending: bool) -> None:
    """pending: what it writes is there only after wait(), and is not looked at."""
    if not session.ops:
        return
    recorder, path = session.recorder, session.modules.path
    told: Dict[str, Any] = {"op": operation} if operation else {}
    if pending:
        told["async"] = True
    arguments = json.dumps(told, separators=(",", ":")) if told else ""
    for i, tensor in enumerate(tensors_in(written)):
        seen = look(tensor, session.left_out)
        if seen is None:
            continue
        number = recorder.site("collective", "comm", path, op, "out" if i == 0 else f"out{i}",
                               dtype=DTYPES[tensor.dtype], shape=seen[1], arguments=arguments,
                               source=session.calls)
        if pending:
            recorder.event(number, flags=lib.UNDEFINED)
            continue
        ref = recorder.event(number, address=seen[2] or 8, count_bytes=seen[3])
        session.core.put(tensor, ref, path)
