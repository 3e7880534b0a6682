# SPDX-License-Identifier: Apache-2.0
"""Records PyTorch programs, from 1.13 on.

    import firstbit.torch as fb
    with fb.record("run.fbt", model=model, optimizer=optimizer):
        train()
"""

import atexit
import os
import sys
import threading
from typing import Any, Dict, List, Optional, Sequence, Union

import torch

from ..recorder import Recorder, process_header
from . import program
from .hooks import Hooks
from .program import environment
from .session import Session

#: What is recorded unless told otherwise: data, draws and scalars of every step, and every op in
#: the first ten steps and each thousandth.
DEFAULT_LEVEL = "ops"
DEFAULT_OPS_STEPS = "0:10,every=1000"

_current: "Optional[Run]" = None
_by_command = False  # while `firstbit record` begins a recording

#: What `firstbit record` was told to record and where, if it was told a depth.
_wanted: Optional[Dict[str, Any]] = None


def _child() -> None:
    """Worker processes do not record: their batches are, where they arrive."""
    if _current is not None:
        _current._session.leave_in_child()


os.register_at_fork(after_in_child=_child)


class Run:
    """A recording in progress: a context manager, or ended by `close`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.by_environment = False  # `firstbit record` began it, not the program
        self._hooks = Hooks(session)

    @property
    def recorder(self) -> Recorder:
        """For what the program wants to report besides: `run.recorder.scalar("accuracy", x)`."""
        return self._session.recorder

    def step(self) -> None:
        """Ends a step here. After the first call optimizers no longer do."""
        self._session.by_hand = True
        if self._session.recorder.current_step == 0:
            self._session.begin_training()
        else:
            self._session.next_step()

    def micro(self, micro: Optional[int]) -> None:
        """The micro-batch of what follows, from 0; None for none."""
        self._session.recorder.micro(micro)

    def dataset(self, loader: Any, *, role: str) -> None:
        """Says what a DataLoader's samples are for: "train", "val" or "test"."""
        self._session.guarded(self._session.roles.__setitem__, loader, role)

    def mark(self, text: str) -> None:
        """A note in the trace."""
        self._session.recorder.mark(text)

    def close(self) -> Optional[str]:
        """Ends the recording. Returns what stopped it early, or None."""
        global _current
        if _current is self:
            _current = None
        self._hooks.remove()
        reason = self._session.close()
        if reason is not None and not self._session.failed:
            print(f"firstbit: the recording ended early: {reason}", file=sys.stderr)
        return reason

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *failure: Any) -> None:
        self.close()


def record(path: Union[str, "os.PathLike[str]"], *,
           model: "Union[torch.nn.Module, Dict[str, torch.nn.Module], None]" = None,
           optimizer: "Union[torch.optim.Optimizer, Sequence[torch.optim.Optimizer], None]" = None,
           level: str = DEFAULT_LEVEL, ops_steps: Optional[str] = DEFAULT_OPS_STEPS,
           values_path: Optional[str] = None, values_steps: Optional[str] = None,
           values_bytes: int = 0, max_bytes: int = 0,
           header: Optional[Dict[str, Any]] = None) -> Run:
    """Begins to record this program into the trace file `path`.

    Args:
        model: gives paths their names: a module, or a dictionary of several. Modules that are not
            given are named by their class.
        optimizer: one or several; the first whose `step` is called counts the steps.
        level, ops_steps, values_path, values_steps, values_bytes, max_bytes: as firstbit.Recorder.
        header: more for the trace's header.

    It changes no result: no tensor is written to, no random number drawn, autograd's graph stays as
    it is. What it replaces in PyTorch it puts back when it ends. Recorded is the thread that calls
    it; of DataLoader workers, the batches that they deliver. In a group of several ranks
    the second one's trace is run.rank1.fbt, a part of the first one's.
    """
    global _current
    if _current is not None and _current.by_environment:
        _current.mark("the program records itself from here on")
        _current.close()
        if _wanted is not None:  # `firstbit record --level ...`: the user's word, the program's names
            return record(model=model, optimizer=optimizer, header=header, **_wanted)
    if _current is not None:
        raise RuntimeError("firstbit: a recording is in progress already")
    modules: Dict[str, torch.nn.Module] = {}
    if isinstance(model, dict):
        modules = dict(model)
    elif model is not None:
        modules = {"": model}
    optimizers: List[torch.optim.Optimizer] = []
    if isinstance(optimizer, torch.optim.Optimizer):
        optimizers = [optimizer]
    elif optimizer is not None:
        optimizers = list(optimizer)
    document = {"framework": "torch", "environment": environment(), "sources": program.sources(),
                **(header or {})}
    # `firstbit record` has named the file of each process itself.
    rank, ranks = (0, 1) if _by_command or process_header else program.rank()
    if ranks > 1:
        document.update(rank=rank, world_size=ranks)
    role = process_header.get("role")  # of a part of a run already: firstbit/_follow.py
    named = role is not None and f".{role}." in os.path.basename(os.fspath(path))
    if rank > 0 and not named:
        document.update(parent=program.parent_id(), role=f"rank{rank}")
    path = os.fspath(path) if named else program.path_of_rank(os.fspath(path), rank)
    recorder = Recorder(path, level=level, ops_steps=ops_steps, values_path=values_path,
                        values_steps=values_steps, values_bytes=values_bytes, max_bytes=max_bytes,
                        threads=program.threads(), header=document)
    if rank == 0 and ranks > 1 and not named:
        program.tell_id(path)
    run = _current = Run(Session(recorder, modules, optimizers))
    if modules and optimizers:
        run._session.begin_training()
    return run


def begin_by_environment(settings: Dict[str, str]) -> None:
    """For the start-up hook of `firstbit record`: records until the program ends."""
    global _wanted, _by_command
    level = settings.get("FIRSTBIT_LEVEL")
    ops_steps = settings.get("FIRSTBIT_OPS_STEPS")
    told = level is not None or ops_steps is not None
    if not told:
        ops_steps = DEFAULT_OPS_STEPS
    options: Dict[str, Any] = {
        "path": settings["FIRSTBIT_RECORD"], "level": level or DEFAULT_LEVEL,
        "ops_steps": ops_steps, "values_path": settings.get("FIRSTBIT_VALUES_PATH"),
        "values_steps": settings.get("FIRSTBIT_VALUES_STEPS"),
        "values_bytes": int(settings.get("FIRSTBIT_VALUES_BYTES", 0)),
        "max_bytes": int(settings.get("FIRSTBIT_MAX_BYTES", 0))}
    _by_command = True
    try:
        run = record(**options)
    finally:
        _by_command = False
    _wanted = options if told else None
    run.by_environment = True
    process = os.getpid()

    def end() -> None:
        if _current is run and os.getpid() == process:
            run.close()

    atexit.register(end)


def end_for_exec() -> None:
    """The process becomes another program, which runs nothing at exit. A thread that is not the
    recorded one cannot end the recording of what that one does meanwhile: it stays as it is."""
    if _current is not None and _current._session.thread == threading.get_ident():
        _current.mark("the process becomes another program here")
        _current.close()


__all__ = ["DEFAULT_LEVEL", "DEFAULT_OPS_STEPS", "Run", "environment", "record"]
