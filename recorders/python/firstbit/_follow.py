# SPDX-License-Identifier: Apache-2.0
"""Python programs that a recorded program starts record too: run.process1.fbt beside run.fbt.

What leads the start-up hook there is put into the environment of each new process alone; the
program's own os.environ never shows it. Processes are numbered in the order in which their parent
starts them, and those of a process begin with its number (process1.2), so two runs of a program
name them alike. One that a distributed launcher gave a rank is called by that: run.rank1.fbt.
"""

import ctypes
import functools
import os
import sys
import threading
from typing import Any, Dict, Optional, Tuple

_libc = ctypes.CDLL(None)
_lock = threading.Lock()


class _Follower:
    """What a new process is told: `settings` of the recording, and its number."""

    def __init__(self, settings: Dict[str, str], parent: str, hook: str) -> None:
        self.settings = {name: value for name, value in settings.items()
                         if name not in ("FIRSTBIT_ROLE", "FIRSTBIT_PARENT", "FIRSTBIT_MAIN")}
        self.main = settings.get("FIRSTBIT_MAIN", settings["FIRSTBIT_RECORD"])
        self.role = settings.get("FIRSTBIT_ROLE", "")
        self.parent, self.hook, self.count, self.process = parent, hook, 0, os.getpid()

    def told(self, environment: Dict[str, str]) -> Dict[str, str]:
        """The variables of the next process, whose environment is this otherwise."""
        self.count += 1
        name = f"{self.role}.{self.count}" if self.role else f"process{self.count}"
        stem = self.main[:-4] if self.main.endswith(".fbt") else self.main
        path = environment.get("PYTHONPATH")
        return {**self.settings, "FIRSTBIT_MAIN": self.main, "FIRSTBIT_PARENT": self.parent,
                "FIRSTBIT_ROLE": name, "FIRSTBIT_RECORD": f"{stem}.{name}.fbt",
                "PYTHONPATH": self.hook + (os.pathsep + path if path else "")}


def ranked(settings: Dict[str, str]) -> Dict[str, str]:
    """The same settings, with the name of a rank where a launcher gave one."""
    rank = os.environ.get("RANK", "")
    if "FIRSTBIT_ROLE" not in settings or not rank.isdigit() or "WORLD_SIZE" not in os.environ:
        return settings
    main = settings["FIRSTBIT_MAIN"]
    stem = main[:-4] if main.endswith(".fbt") else main
    return {**settings, "FIRSTBIT_ROLE": f"rank{rank}",
            "FIRSTBIT_RECORD": f"{stem}.rank{rank}.fbt"}


class _InEnvironment:
    """The variables stand in the C environment, which a process inherits, while this is open."""

    def __init__(self, variables: Dict[str, str]) -> None:
        self.variables = variables
        self.before: Dict[str, Optional[str]] = {}

    def __enter__(self) -> None:
        for name, value in self.variables.items():
            self.before[name] = os.environ.get(name)
            _libc.setenv(os.fsencode(name), os.fsencode(value), 1)

    def __exit__(self, *failure: Any) -> None:
        for name, value in self.before.items():
            if value is None:
                _libc.unsetenv(os.fsencode(name))
            else:
                _libc.setenv(os.fsencode(name), os.fsencode(value), 1)


def _wrap_popen(follower: _Follower) -> None:
    import subprocess
    original = subprocess.Popen.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **named: Any) -> None:
        if follower.process != os.getpid():
            return original(self, *args, **named)
        with _lock:
            given = named.get("env")
            if given is None or len(args) > 10:  # env as the eleventh argument: left alone
                with _InEnvironment(follower.told(dict(os.environ))):
                    return original(self, *args, **named)
            try:
                named["env"] = {**given, **follower.told(dict(given))}
            except (TypeError, ValueError):  # names as bytes: left alone
                pass
            return original(self, *args, **named)

    subprocess.Popen.__init__ = init  # type: ignore[method-assign]


def _wrap_spawn(follower: _Follower) -> None:
    """What multiprocessing starts its fresh interpreters with."""
    from multiprocessing import util
    original = util.spawnv_passfds

    @functools.wraps(original)
    def spawn(path: Any, args: Any, passfds: Any) -> int:
        started = sys._getframe(1).f_locals.get("process_obj")
        if follower.process != os.getpid() or _is_helper(args) or is_pool_worker(started):
            return original(path, args, passfds)
        with _lock, _InEnvironment(follower.told(dict(os.environ))):
            return original(path, args, passfds)

    util.spawnv_passfds = spawn


def is_pool_worker(process: Any) -> bool:
    """Whether it takes tasks from a queue that several take from (Pool, ProcessPoolExecutor, joblib):
    which of them gets which is a matter of time, so two runs' workers are not alike. What they give
    back is seen where it is used."""
    target = getattr(process, "_target", None)
    return (getattr(target, "__module__", None) == "multiprocessing.pool" or
            getattr(target, "__name__", None) == "_process_worker")


def _is_helper(args: Tuple[Any, ...]) -> bool:
    """multiprocessing's own: the resource tracker, the fork server."""
    return any(b"resource_tracker" in os.fsencode(a) or b"forkserver" in os.fsencode(a)
               for a in args)


def begin(settings: Dict[str, str], hook: str) -> None:
    """Called once the recording of this process has begun."""
    from .reader import Trace

    parent = settings.get("FIRSTBIT_PARENT")
    if parent is None:
        with Trace(settings["FIRSTBIT_RECORD"], False) as trace:
            parent = trace.id
    follower = _Follower(settings, parent, hook)
    _wrap_popen(follower)
    _wrap_spawn(follower)

