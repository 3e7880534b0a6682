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

    def __init__(self, path: Union[str, "os.PathLike[str]"], stacks: bool = True) -> None:
        handle, error = ctypes.c_void_p(), lib.Error()
        self._handle: Optional[int] = None
        lib.check(lib.library.fb_trace_open(ctypes.byref(handle), os.fsencode(path),
                                            ctypes.byref(error)), error)
        self._handle = handle.value
        self._stacks: Optional[Dict[int, str]] = {} if stacks else None

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *failure: Any) -> None:
        self.close()

    def close(self) -> None:
        handle, self._handle = self._handle, None
        lib.library.fb_trace_close(handle)

    def _info(self) -> lib.TraceInfo:
        if self._handle is None:
            raise ValueError("firstbit: the trace is closed")
        return lib.library.fb_trace_get_info(self._handle).contents

    @property
    def header(self) -> Dict[str, Any]:
        """What the trace says of its run: configuration, environment, seeds, argv, ..."""
        return json.loads(self._info().header or b"{}")

    @property
    def id(self) -> str:
        """The unique id of the recording, 32 hex digits; parts name their main trace by it."""
        return self._info().id.hex()

    @property
    def status(self) -> str:
        """"complete", "torn", "full" or "corrupt", as far as opening it tells."""
        return lib.STATUSES[self._info().status]

    @property
    def last_step(self) -> Optional[int]:
        """The last finished step, or None where none is finished."""
        info = self._info()
        return info.last_step if info.first_step <= info.last_step else None

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
            if self._stacks is not None:
                members["stack"] = self._stack_of(event.contents.site)
            yield members

    def _stack_of(self, site: int) -> str:
        """Looked up once a site: finding the lines of a C program takes a while."""
        if site not in self._stacks:
            found = lib.library.fb_trace_stack(self._handle, site) or b""
            self._stacks[site] = found.decode("utf-8", "replace")
        return self._stacks[site]


def open(path: Union[str, "os.PathLike[str]"], *, stacks: bool = True) -> Trace:
    """Opens a trace for reading, torn or not.

    stacks: whether events have a member "stack"; False is faster where nobody reads it, much
    faster where the program was written in C.
    """
    return Trace(path, stacks)
