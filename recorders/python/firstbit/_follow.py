# SPDX-License-Identifier: Apache-2.0
"""The processes of a recorded program: what each is called, and how those that it starts are led
to record too, whether it records itself or not.

What leads the start-up hook is put into the environment of each new process alone; the program's own
os.environ never shows it. Processes are numbered where their parent starts them (process1, and
process1.2 of its children), so two runs of a program name them alike. One that a launcher gave a
rank is called by that: rank1. Where a program that is no Python starts several, all are told the
same; the one that started first has the name, others get also2, also3 in the order of their start.
A recorded process that becomes another program (exec) is called exec1 from there on, then exec2.

The hook loads this file before the package, in every Python: it imports next to nothing.
"""

from __future__ import annotations

import _thread
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    Settings = Dict[str, str]

# What launchers call a rank, of all processes; those of cli/family.c.
_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")


def _rank_of(environment: Any) -> str:
    """ "RANK=1", or "" without one."""
    for name in _RANKS:
        value = environment.get(name)
        if value is not None:
            return f"{name}={value}"
    return ""


def _is_rank(told: str) -> bool:
    return told.partition("=")[2].isdigit()


def _start_of(process: int) -> Optional[Tuple[int, int]]:
    """When a process began, in ticks since the machine did, and its number, for an order of two;
    None where it is over."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (int(fields[19]), process)


class Family:
    """This process among those of the program. hook: the folder of the start-up hook."""

    def __init__(self, settings: Settings, hook: str) -> None:
        self.settings, self.hook = settings, hook
        self.main = settings.get("FIRSTBIT_MAIN", settings["FIRSTBIT_RECORD"])
        self.role = settings.get("FIRSTBIT_ROLE", "")
        self.folder = settings.get("FIRSTBIT_FAMILY", "")
        self.rank = _rank_of(os.environ)
        self.process, self.started, self.forks = os.getpid(), 0, 0
        self.by_thread: Dict[str, int] = {}
        self.lock = _thread.allocate_lock()
        self.starting = 0  # the thread that starts a process just now
        self.me = _start_of(self.process) or (0, self.process)
        self.recorded = False  # this program of the process: it has a file
        self.before_exec: Callable[[], Any] = lambda: None  # completes that file
        self._take_rank(settings.get("FIRSTBIT_RANK", ""))
        self._announce()
        os.register_at_fork(before=self._before_fork, after_in_child=self._in_child)

    # --- What it is called ------------------------------------------------------------------------

    def _take_rank(self, before: str) -> None:
        """before: the rank of the process that started this one, which it may have inherited."""
        if self.rank != before and _is_rank(self.rank):
            self.role = "rank" + self.rank.partition("=")[2]

    def path(self) -> str:
        """The file that it records into."""
        stem = self.main[:-4] if self.main.endswith(".fbt") else self.main
        return f"{stem}.{self.role}.fbt" if self.role else self.main

    def _announce(self) -> None:
        if self.folder:
            try:
                self._make("{}@{}.{}".format(self.role, *self.me))
            except OSError:
                pass  # told where it begins to record

    def _make(self, name: str, text: str = "") -> None:
        file = os.open(os.path.join(self.folder, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY |
                       os.O_CLOEXEC, 0o600)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)

    def claim(self) -> None:
        """Called where it begins to record: of several that were told the same name all but the
        first get others. An OSError where the recorded program has ended long ago."""
        self.recorded = True
        if self.role and not self.role.startswith("rank") and _rank_of(os.environ) != self.rank:
            before, self.rank = self.rank, _rank_of(os.environ)
            self._take_rank(before)
        if not self.folder:
            return
        role, me = self.role, "{}.{}".format(*self.me)
        number = 1 + self._before_me(role)
        while not self._claimed(f"{role}#{number}", me):
            number += 1
        if number > 1:
            self.role = f"{role}.also{number}" if role else f"also{number}"

    def _claimed(self, name: str, me: str) -> bool:
        """Whether that name is this process's now."""
        try:
            self._make(name, me)
        except FileExistsError:
            return False
        return True

    def _before_me(self, role: str) -> int:
        """How many of this name began earlier, and record or may do so yet."""
        seen: List[Tuple[int, int]] = []
        recording = set()
        for name in os.listdir(self.folder):
            whose, _, when = name.partition("@")
            if when and whose == role:
                ticks, _, process = when.partition(".")
                seen.append((int(ticks), int(process)))
            elif name.startswith(role + "#"):
                with open(os.path.join(self.folder, name), encoding="ascii") as file:
                    recording.add(file.read())
        return sum(start < self.me and ("{}.{}".format(*start) in recording or
                                        _start_of(start[1]) == start) for start in seen)

    def header(self) -> Dict[str, str]:
        """What the trace of a part says of its place."""
        parent = self.settings.get("FIRSTBIT_ID", "")
        return {"parent": parent, "role": self.role} if self.role and parent else {}

    # --- Forked processes -------------------------------------------------------------------------

    def _before_fork(self) -> None:
        self.forks += 1

    def _in_child(self) -> None:
        name = f"fork{self.forks}"
        self.role = f"{self.role}.{name}" if self.role else name
        self.process, self.started, self.forks = os.getpid(), 0, 0
        self.me = _start_of(self.process) or (0, self.process)
        self.lock, self.starting = _thread.allocate_lock(), 0
        self.by_thread = {}
        self.recorded, self.before_exec = False, lambda: None
        self._announce()

    # --- Processes that it starts -----------------------------------------------------------------

    def becoming(self) -> str:
        """What this process is called when it is another program: that of before where it has
        recorded nothing."""
        if not self.recorded:
            return self.role
        before, _, last = self.role.rpartition(".")
        if last.startswith("exec") and last[4:].isdigit():
            return self._below(before, f"exec{int(last[4:]) + 1}")
        return self._below(self.role, "exec1")

    @staticmethod
    def _below(role: str, name: str) -> str:
        return f"{role}.{name}" if role else name

    def told(self, environment: Any, role: str) -> Settings:
        """The variables of a process that is called so, whose environment is this otherwise."""
        path = environment.get("PYTHONPATH")
        mine = {key: value for key, value in self.settings.items() if key != "FIRSTBIT_ROLE"}
        mine.update(FIRSTBIT_MAIN=self.main, FIRSTBIT_RANK=self.rank,
                    PYTHONPATH=self.hook + (os.pathsep + path if path else ""))
        if role:
            mine["FIRSTBIT_ROLE"] = role
        return mine

    def next_name(self, what: Any) -> str:
        """Of a process that is started now. Those that threads start come in any order: they are
        named by `what` they run."""
        threading = sys.modules.get("threading")
        if threading is None or threading.current_thread() is threading.main_thread():
            self.started += 1
            return f"process{self.started}"
        import zlib
        temporary = os.environ.get("TMPDIR", "/tmp")
        words = [what] if isinstance(what, (str, bytes, os.PathLike)) else list(what)
        told = b"\0".join(word for word in map(os.fsencode, words)
                          if os.fsencode(temporary) not in word)
        name = f"thread{zlib.crc32(told) % 100000}"
        count = self.by_thread[name] = self.by_thread.get(name, 0) + 1
        return name if count == 1 else f"{name}.{count}"

    def start(self, environment: Any, what: Any, call: Callable[[Any], Any],
              same: bool = False) -> Any:
        """Calls `call` with the environment of a process that it starts, or None where it is to
        inherit this one's, which then has the variables. same: it starts none, it becomes it."""
        me = _thread.get_ident()
        if self.starting == me:  # one of these functions calls another
            return call(environment)
        with self.lock:
            self.starting = me
            try:
                role = self.becoming() if same else self._below(self.role, self.next_name(what))
                if environment is None:
                    with _InEnvironment(self.told(os.environ, role)):
                        return call(None)
                given = {os.fsdecode(key): value for key, value in dict(environment).items()}
                return call({**given, **self.told(given, role)})
            finally:
                self.starting = 0


class _InEnvironment:
    """The variables stand in the C environment, which a process inherits, while this is open;
    os.environ does not show them."""

    def __init__(self, variables: Settings) -> None:
        self.variables = variables

    def __enter__(self) -> None:
        for name, value in self.variables.items():
            os.putenv(name, value)

    def __exit__(self, *failure: Any) -> None:
        for name in self.variables:
            value = os.environ.get(name)
            if value is None:
                os.unsetenv(name)
            else:
                os.putenv(name, value)


# --- Where processes are started ------------------------------------------------------------------

def _stand_in(new: Any, original: Any) -> Any:
    """functools.wraps, which is not imported yet."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(new, name, getattr(original, name, None))
    new.__wrapped__ = original
    return new


def _can_be_run(program: Any) -> bool:
    try:
        return isinstance(program, int) or (os.access(program, os.X_OK) and
                                            not os.path.isdir(program))
    except (TypeError, ValueError):
        return False


def follow_os(family: Family) -> None:
    """os.system and the like, which are there when Python begins."""
    posix = sys.modules["posix"]

    def make(original: Any, what: int, env: Optional[int], same: bool) -> Any:
        """what, env: the argument that says what is run, and its environment."""
        def function(*args: Any, **named: Any) -> Any:
            if len(args) <= max(what, env or 0):
                return original(*args, **named)

            def call(environment: Any) -> Any:
                if same and _can_be_run(args[0]):  # os.execvp() tries one place after another
                    family.before_exec()
                if env is None:
                    return original(*args, **named)
                return original(*args[:env], environment, *args[env + 1:], **named)
            return family.start(None if env is None else args[env], args[what], call, same)
        return _stand_in(function, original)

    for name, what, env, same in (("system", 0, None, False), ("posix_spawn", 1, 2, False),
                                  ("posix_spawnp", 1, 2, False), ("execv", 1, None, True),
                                  ("execve", 1, 2, True)):
        if hasattr(os, name):
            new = make(getattr(os, name), what, env, same)
            setattr(os, name, new)
            setattr(posix, name, new)


def follow_subprocess(family: Family) -> None:
    import subprocess
    original = subprocess.Popen.__init__

    def __init__(self: Any, args: Any, *rest: Any, **named: Any) -> None:
        def call(environment: Any) -> None:
            if len(rest) > 9:
                original(self, args, *rest[:9], environment, *rest[10:], **named)
            else:
                original(self, args, *rest, **{**named, "env": environment})

        if type(args) not in (str, bytes, list, tuple) and not isinstance(args, os.PathLike):
            args = list(args)
        family.start(rest[9] if len(rest) > 9 else named.get("env"), args, call)

    subprocess.Popen.__init__ = _stand_in(__init__, original)  # type: ignore[method-assign]


def follow_multiprocessing(family: Family) -> None:
    """What it starts its fresh interpreters with."""
    from multiprocessing import util
    original = util.spawnv_passfds

    def spawn(path: Any, args: Any, passfds: Any) -> int:
        started = sys._getframe(1).f_locals.get("process_obj")
        if _is_helper(args) or is_pool_worker(started):
            return original(path, args, passfds)
        what = getattr(started, "name", "")
        return family.start(None, what, lambda _: original(path, args, passfds))

    util.spawnv_passfds = _stand_in(spawn, original)


def is_pool_worker(process: Any) -> bool:
    """Whether it takes tasks from a queue that several take from (Pool, ProcessPoolExecutor, joblib):
    which of them gets which is a matter of time, so two runs' workers are not alike. What they give
    back is seen where it is used."""
    target = getattr(process, "_target", None)
    return (getattr(target, "__module__", None) == "multiprocessing.pool" or
            getattr(target, "__name__", None) == "_process_worker")


def _is_helper(args: Any) -> bool:
    """multiprocessing's own: the resource tracker, the fork server."""
    return any(b"resource_tracker" in os.fsencode(a) or b"forkserver" in os.fsencode(a)
               for a in args)


#: By the module that has to be imported for it.
STARTERS = {"subprocess": follow_subprocess, "multiprocessing.util": follow_multiprocessing}
