# SPDX-License-Identifier: Apache-2.0
"""The program's call stack: which of its lines an event comes from."""

import os
import sys
import sysconfig
from typing import Any, Dict, Hashable, List, Tuple

LIBRARIES = tuple({sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")} | {
    "/usr/lib/python3/dist-packages"})
_WRAPPERS = {"_call_impl", "_wrapped_call_impl", "__torch_dispatch__", "wrapped", "wrapper", "_fn",
             "decorate_context"}
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_NOT_PROGRAM = LIBRARIES + (_HERE, "<frozen")
_LINES_MAX = 24
_PLACE_FRAMES = 2  # that tell one place from another
_PLACE_DEPTH = 24  # frames of libraries and the program that are looked at


class CallStack:
    """Where the program is: as text for people, and as a key to look that text up by.

    A text takes some ten microseconds to make, a key less than one, so that each event can be told
    with the line that it comes from and not with the one that reported the first of its kind.
    """

    def __init__(self) -> None:
        self.cwd = os.getcwd()
        self._program: Dict[int, Tuple[Any, bool]] = {}  # by id of a code object, which it keeps

    def is_program(self, code: Any) -> bool:
        """Whether this code is the user's: of no library, and not of this package."""
        known = self._program.get(id(code))
        if known is None:
            known = self._program[id(code)] = code, not code.co_filename.startswith(_NOT_PROGRAM)
        return known[1]

    def place(self) -> Hashable:
        """Equal for two calls from one place: the innermost lines of the program's own."""
        frame: Any = sys._getframe(1)
        found: List[Any] = []
        depth = 0
        while frame is not None and depth < _PLACE_DEPTH and len(found) < 2 * _PLACE_FRAMES:
            if self.is_program(frame.f_code):
                found += (id(frame.f_code), frame.f_lasti)
            frame = frame.f_back
            depth += 1
        return tuple(found)

    def text(self) -> str:
        """The frames of the user's files, innermost first; behind the first of them the library
        function that it called. Paths relative to the project."""
        frame: Any = sys._getframe(1)
        lines: List[str] = []
        library = None
        while frame is not None and len(lines) < _LINES_MAX:
            code = frame.f_code
            name = code.co_filename
            if self.is_program(code):
                called = f" (in {library})" if library is not None else ""
                library = None
                lines.append(f"{code.co_name} at {short(name, self.cwd)}:{frame.f_lineno}{called}")
            elif not name.startswith((_HERE, "<frozen")) and not lines and (
                    code.co_name not in _WRAPPERS):
                library = f"{code.co_name} at {short(name, self.cwd)}:{frame.f_lineno}"
            frame = frame.f_back
        return "\n".join(lines or ([library] if library else []))


def short(name: str, cwd: str) -> str:
    """No absolute path: relative to the project, or its last two parts."""
    if name.startswith(cwd + "/") and not name.startswith(LIBRARIES):
        return name[len(cwd) + 1:]
    return "/".join(name.rsplit("/", 2)[-2:]).lstrip("/")
