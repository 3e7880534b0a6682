# SPDX-License-Identifier: Apache-2.0
"""The shared library firstbit_trace through ctypes: where it is, its structures, its calls.

The structures are those of include/firstbit/event.h, recorder.h and trace.h.
"""

import ctypes
import glob
import os
from ctypes import (POINTER, Structure, c_bool, c_char, c_char_p, c_double, c_int32,
                    c_size_t, c_uint32, c_uint64, c_void_p)
from typing import Iterator

PHASES = {name: number for number, name in enumerate(
    ("", "init", "data", "forward", "loss", "backward", "comm", "optimizer", "schedule", "eval",
     "checkpoint"))}
KINDS = {name: number for number, name in enumerate(
    ("", "tensor", "draw", "sample", "scalar", "seed", "mode", "param", "collective", "checkpoint",
     "mark"))}
DTYPES = {name: number for number, name in enumerate(
    ("", "f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2", "c64", "c128", "i8", "i16", "i32", "i64",
     "u8", "u16", "u32", "u64", "bool"))}
LEVELS = {"steps": 1, "draws": 2, "ops": 3, "sketch": 4, "values": 5}
ROLES = {"unknown": 0, "train": 1, "val": 2, "test": 3}
STATUSES = ("complete", "torn", "full", "corrupt")
CLASSES = {"scalars": 1, "data": 2, "state": 4, "ops": 8, "notes": 16}
RANK_MAX = 8
NAME_MAX = 1024
INDICES_MAX = 131072
MICRO_NONE = -1
UNDEFINED = 2  # event flag: contents undefined, there is no hash


class Hash(Structure):
    """128 bits of XXH3."""

    _fields_ = [("lo", c_uint64), ("hi", c_uint64)]

    def hex(self) -> str:
        return f"{self.hi:016x}{self.lo:016x}"


class Error(Structure):
    _fields_ = [("status", c_uint32), ("offset", c_uint64), ("text", c_char * 512)]


class Site(Structure):
    _fields_ = [
        ("size", c_size_t), ("kind", c_uint32), ("phase", c_uint32), ("path", c_char_p),
        ("op", c_char_p), ("slot", c_char_p), ("occurrence", c_uint32), ("note", c_bool),
        ("dtype", c_uint32), ("rank", c_uint32), ("shape", c_uint64 * RANK_MAX),
        ("stream", c_char_p), ("algorithm", c_char_p), ("distribution", c_char_p),
        ("parameters", c_double * 2), ("consumer", c_char_p), ("dataset", c_char_p),
        ("role", c_uint32), ("source", c_char_p), ("arguments", c_char_p)]


class Ref(Structure):
    _fields_ = [("site", c_uint32), ("micro", c_int32), ("step", c_uint64)]


class Event(Structure):
    _fields_ = [
        ("size", c_size_t), ("site", c_uint32), ("flags", c_uint32), ("step", c_uint64),
        ("micro", c_int32), ("version", c_uint32), ("storage", c_uint64), ("hash", Hash),
        ("value", c_double), ("key", c_uint64), ("counter", c_uint64), ("count", c_uint64),
        ("indices", c_void_p), ("text", c_char_p), ("inputs", POINTER(Ref)),
        ("input_count", c_uint32), ("data", c_void_p), ("data_bytes", c_size_t),
        ("sketch", c_void_p), ("blocks", c_void_p), ("block_count", c_uint64)]


# The same layout for struct.pack_into, from `size` to `data_bytes`.
EVENT_FORMAT = "<QIIQiIQQQdQQQQQQI4xQQ"
EVENT_BYTES = ctypes.sizeof(Event)


class Options(Structure):
    _fields_ = [
        ("size", c_size_t), ("level", c_uint32), ("header", c_char_p), ("no_stacks", c_bool),
        ("state_every", c_uint64), ("checkpoint_every", c_uint64), ("ops_steps", c_char_p),
        ("max_bytes", c_uint64), ("values_path", c_char_p), ("values_steps", c_char_p),
        ("values_bytes", c_uint64), ("threads", c_uint32), ("id", Hash)]


class TraceInfo(Structure):
    """fb_trace_info; fields that a later library appends are not read."""

    _fields_ = [
        ("status", c_uint32), ("damage", c_uint64), ("version", c_uint32), ("id", Hash),
        ("level", c_uint32), ("first_step", c_uint64), ("last_step", c_uint64),
        ("steps", c_uint64), ("events", c_uint64), ("bytes", c_uint64), ("chunks", c_uint64),
        ("header", c_char_p)]


class Stats(Structure):
    """fb_recorder_stats; fields that a later library appends land behind `error`."""

    _fields_ = [("events", c_uint64), ("bytes", c_uint64), ("sealed", c_uint64),
                ("values_left_out", c_uint64), ("rest", c_char * 2048)]


def _is_plain(built: str) -> bool:
    """Whether a Python can load a library of a build folder: one with sanitizers would end it."""
    cache = os.path.join(os.path.dirname(os.path.dirname(built)), "CMakeCache.txt")
    try:
        with open(cache, encoding="utf-8", errors="replace") as file:
            return "-fsanitize" not in file.read()
    except OSError:
        return True


def candidates() -> Iterator[str]:
    """Where the library may be, best first: named by FIRSTBIT_LIBRARY, beside the package, in a
    build folder of the source tree, in the folder it was installed to, where the loader looks."""
    named = os.environ.get("FIRSTBIT_LIBRARY")
    if named:
        yield named
        return
    here = os.path.dirname(os.path.abspath(__file__))
    yield from sorted(glob.glob(os.path.join(here, "_native", "libfirstbit_trace.so*")))
    root = os.path.normpath(os.path.join(here, "..", "..", ".."))
    built = glob.glob(os.path.join(root, "build", "*", "tracer", "libfirstbit_trace.so"))
    yield from sorted(filter(_is_plain, built), key=os.path.getmtime, reverse=True)
    installed = os.path.normpath(os.path.join(here, "..", "..", "..", ".."))  # its share/firstbit
    for pattern in ("lib*", os.path.join("lib*", "*")):
        yield from sorted(glob.glob(os.path.join(installed, pattern, "libfirstbit_trace.so.0")))
    yield "libfirstbit_trace.so.0"


def _declare(library: ctypes.CDLL) -> ctypes.CDLL:
    calls = {
        "fb_recorder_open": (c_uint32, [POINTER(c_void_p), c_char_p, POINTER(Options),
                                        POINTER(Error)]),
        "fb_recorder_close": (c_uint32, [c_void_p, POINTER(Error)]),
        "fb_recorder_get_stats": (None, [c_void_p, POINTER(Stats)]),
        "fb_recorder_step": (None, [c_void_p, c_uint64]),
        "fb_recorder_micro": (None, [c_void_p, c_int32]),
        "fb_recorder_site": (c_uint32, [c_void_p, POINTER(Site)]),
        "fb_recorder_event": (None, [c_void_p, c_void_p]),
        "fb_recorder_wants": (c_uint32, [c_void_p]),
        "fb_recorder_mark": (None, [c_void_p, c_char_p]),
        "fb_recorder_stop": (None, [c_void_p, c_char_p]),
        "fb_trace_open": (c_uint32, [POINTER(c_void_p), c_char_p, POINTER(Error)]),
        "fb_trace_close": (None, [c_void_p]),
        "fb_trace_get_info": (POINTER(TraceInfo), [c_void_p]),
        "fb_trace_next": (c_uint32, [c_void_p, POINTER(POINTER(Event)), POINTER(c_uint64),
                                     POINTER(Error)]),
        "fb_trace_seek": (c_uint32, [c_void_p, c_uint64, POINTER(Error)]),
        "fb_trace_stack": (c_char_p, [c_void_p, c_uint32]),
        "fb_trace_event_json": (c_void_p, [c_void_p, POINTER(Event), c_uint64]),
    }
    for name, (result, arguments) in calls.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _load() -> "tuple[str, ctypes.CDLL]":
    failures = []
    for path in candidates():
        try:
            return path, _declare(ctypes.CDLL(path))
        except (OSError, AttributeError) as failure:
            failures.append(f"{path}: {failure}")
    raise ImportError("firstbit: the library firstbit_trace is not to be found; build it, or set "
                      "FIRSTBIT_LIBRARY to its file (" + "; ".join(failures) + ")")


path, library = _load()
# The same functions for short calls, which keep Python's lock: giving it up costs more than they do.
_short = ctypes.PyDLL(path)
event_short = _short.fb_recorder_event
event_short.restype, event_short.argtypes = None, [c_void_p, c_void_p]
event_long = library.fb_recorder_event


class TraceError(Exception):
    """A call of the library failed; the text names file and place."""


def check(status: int, error: Error) -> None:
    if status != 0:
        raise TraceError(error.text.decode("utf-8", "replace"))
