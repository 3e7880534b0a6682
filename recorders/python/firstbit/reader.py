# SPDX-License-Identifier: Apache-2.0
"""firstbit.open: reads a trace, event by event."""

import ctypes
import json
import os
from typing import Any, Dict, Iterator, Optional, Union

from . import _library as lib

_libc = ctypes.CDLL(None)
_libc.free.argtypes = [ctypes.c_void_p]


class Trace:
    """An open trace. Iterating gives each event as a dictionary with the members of
    `firstbit show --json` and `stack`, the call stack, innermost frame first ("" where none)."""

    def __init__(self, path: Union[str, "os.PathLike[str]"]) -> None:
        handle, error = ctypes.c_void_p(), lib.Error()
        self._handle: Optional[int] = None
        lib.check(lib.library.fb_trace_open(ctypes.byref(handle), os.fsencode(path),
                                            ctypes.byref(error)), error)
        self._handle = handle.value

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *failure: Any) -> None:
        self.close()

    def close(self) -> None:
        handle, self._handle = self._handle, None
        lib.library.fb_trace_close(handle)

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        event, number, error = ctypes.POINTER(lib.Event)(), ctypes.c_uint64(), lib.Error()
        library = lib.library
        lib.check(library.fb_trace_seek(self._handle, 0, ctypes.byref(error)), error)
        while self._handle is not None:
            lib.check(library.fb_trace_next(self._handle, ctypes.byref(event), ctypes.byref(number),
                                            ctypes.byref(error)), error)
            if not event:
                return
            text = library.fb_trace_event_json(self._handle, event, number)
            if not text:
                raise MemoryError
            members = json.loads(ctypes.string_at(text))
            _libc.free(text)
            stack = library.fb_trace_stack(self._handle, event.contents.site) or b""
            members["stack"] = stack.decode("utf-8", "replace")
            yield members


def open(path: Union[str, "os.PathLike[str]"]) -> Trace:  # as the module's function is called
    """Opens a trace for reading, torn or not."""
    return Trace(path)
