# SPDX-License-Identifier: Apache-2.0
"""What a trace's header says of the program: settings, sources, and its place among others."""

import hashlib
import os
import struct
import sys
from typing import Any, Dict, List, Optional, Tuple

import torch

from .._stack import LIBRARIES, short

_SOURCES_MAX = 500  # files
_BYTES_MAX = 4 << 20  # of one file
_PATIENCE = 60.0  # seconds that a rank waits for the name of the first one's recording
_ID_AT = 40  # of a trace's header: docs/trace-format.md

_THREADS_MAX = 4  # that hash: what comes from memory comes no faster to more

_recordings = 0  # of this process that had several ranks


def environment() -> Dict[str, Any]:
    """Settings that can change bits."""
    found: Dict[str, Any] = {
        "threads": torch.get_num_threads(), "interop_threads": torch.get_num_interop_threads(),
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "torch": str(torch.__version__),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
        "default_dtype": str(torch.get_default_dtype())[6:]}
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        found["numpy"] = str(numpy.__version__)
    if hasattr(torch, "get_float32_matmul_precision"):
        found["matmul_precision"] = torch.get_float32_matmul_precision()
    return found


def _autocast_of(device: str) -> Optional[torch.dtype]:
    """The type that ops on a device are cast to now, or None."""
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _autocast_once(device: str) -> Optional[torch.dtype]:
    """The same before PyTorch 2.4, where later ones warn of these functions."""
    if device == "cpu":
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


_autocast = _autocast_of if hasattr(torch, "get_autocast_dtype") else _autocast_once


def autocast() -> List[Dict[str, str]]:
    """What automatic mixed precision is on for, and to which type it casts."""
    found = []
    for device in ("cpu", "cuda"):
        dtype = _autocast(device)
        if dtype is not None:
            told = {"dtype": str(dtype)[6:]}
            found.append(told if device == "cpu" else {**told, "device": device})
    return found


def threads() -> int:
    """How many threads may hash a tensor while its op waits: one for each processor that the
    process may use, unless OMP_NUM_THREADS says less. PyTorch's own number is left alone, and none
    of its threads is used."""
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    most = int(told) if told.isdigit() and int(told) > 0 else _THREADS_MAX
    processors = (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                  else os.cpu_count() or 1)
    return max(1, min(most, processors, _THREADS_MAX))


def sources() -> Dict[str, str]:
    """Hash of each source file of the program: the modules that it has imported from its folder or
    the present one, and the other Python files beside its main one, which it may import later."""
    cwd = os.getcwd()
    main = getattr(sys.modules.get("__main__"), "__file__", None) or sys.argv[0]
    folder = os.path.dirname(os.path.abspath(main)) if main else cwd
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    try:
        files.update(os.path.join(folder, name) for name in os.listdir(folder)
                     if name.endswith(".py"))
    except OSError:
        pass
    files.add(os.path.abspath(main) if main else None)
    found = {}
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for file in sorted(f for f in files if isinstance(f, str)):
        file = os.path.abspath(file)
        if (not file.startswith((folder + os.sep, cwd + os.sep)) or
                file.startswith(LIBRARIES + (package,)) or len(found) >= _SOURCES_MAX):
            continue
        try:
            if file.endswith(".py") and os.path.getsize(file) <= _BYTES_MAX:
                with open(file, "rb") as source:
                    found[short(file, cwd)] = hashlib.blake2b(source.read(),
                                                              digest_size=16).hexdigest()
        except OSError:
            continue
    return found


# --- Several processes ----------------------------------------------------------------------------

def _group() -> Any:
    distributed = getattr(torch, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed


def rank() -> Tuple[int, int]:
    """Number of this process in its group, and how many there are."""
    group = _group()
    if group is not None:
        return group.get_rank(), group.get_world_size()
    try:
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        return 0, 1


def path_of_rank(path: str, number: int) -> str:
    """run.fbt of the first rank, run.rank1.fbt of the next."""
    if number == 0:
        return path
    stem, ending = (path[:-4], ".fbt") if path.endswith(".fbt") else (path, "")
    return f"{stem}.rank{number}{ending}"


def _store() -> Any:
    return _group().distributed_c10d._get_default_store()


def tell_id(path: str) -> None:
    """The first rank names its recording to the others, through the store that they met in."""
    global _recordings
    if _group() is None:
        return
    _recordings += 1
    with open(path, "rb") as trace:
        low, high = struct.unpack("<QQ", trace.read(_ID_AT + 16)[_ID_AT:])
    _store().set(f"firstbit/{_recordings}", f"{high:016x}{low:016x}")


def parent_id() -> Optional[str]:
    """The name of the first rank's recording; None where it does not record."""
    import datetime

    global _recordings
    if _group() is None:
        return None
    _recordings += 1
    name, store = f"firstbit/{_recordings}", _store()
    try:
        store.wait([name], datetime.timedelta(seconds=_PATIENCE))
        return store.get(name).decode()
    except RuntimeError:
        return None
