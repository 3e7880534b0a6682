# SPDX-License-Identifier: Apache-2.0
"""For tests: a function that trains must give the same bits each time.

    from firstbit.testing import assert_reproducible

    def test_training_is_reproducible():
        assert_reproducible(train, seed=1)
"""

import inspect
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
from typing import Any, Callable, Dict, Optional, Sequence

from . import _program

_PROCESS_SECONDS = 3600.0


def _set_seeds(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2 ** 32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _takes_run(function: Callable[..., Any]) -> bool:
    try:
        return "run" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _open(path: str, options: Dict[str, Any], wanted: bool) -> Any:
    if "torch" in sys.modules:
        from . import torch as recorder
        return recorder.record(path, **options)
    if not wanted:
        raise TypeError("firstbit: torch is not imported, so the function has to record by itself: "
                        "give it a parameter `run`, a firstbit.Recorder")
    from .recorder import Recorder
    return Recorder(path, **options)


def _record(path: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Dict[str, Any],
            seed: Optional[int], options: Dict[str, Any]) -> None:
    wanted = _takes_run(function)
    if seed is not None:
        _set_seeds(seed)
    with _open(path, options, wanted) as run:
        if wanted:
            kwargs = dict(kwargs, run=run)
        function(*args, **kwargs)


def _record_in_process(*everything: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_record, args=everything)
    process.start()
    process.join(_PROCESS_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"firstbit: the function failed in its process (exit code "
                           f"{process.exitcode}; what it printed says why)")


def _compare(first: str, again: str) -> str:
    done = subprocess.run([_program.find(), "diff", first, again], capture_output=True, text=True,
                          check=False)
    if done.returncode == 0:
        return done.stdout
    if done.returncode in (1, 3):
        raise AssertionError("not reproducible: a is the first run, b a later one\n" + done.stdout)
    raise RuntimeError(done.stderr.strip())


def assert_reproducible(function: Callable[..., Any], *args: Any, seed: Optional[int] = None,
                        runs: int = 2, processes: bool = False, level: str = "ops",
                        ops_steps: Optional[str] = None, keep: Optional[str] = None,
                        **kwargs: Any) -> str:
    """Calls ``function(*args, **kwargs)`` several times, recorded, and compares the recordings.

    Args:
        function: what trains. Where torch is imported all it does there is recorded, as by
            ``firstbit.torch.record``; else it records by itself. A parameter called ``run`` gets
            the recording: a ``firstbit.torch.Run``, or a ``firstbit.Recorder``.
        seed: seeds Python's, NumPy's and PyTorch's generators before each call, those that are
            imported. Without it nothing is reset: what the first call leaves behind (a trained
            model, a used generator) is there in the second.
        runs: how many calls, at least 2; each is compared with the first.
        processes: each call in an interpreter of its own, for what one process keeps. The function
            and its arguments have to be picklable.
        level, ops_steps: how much is recorded: docs/levels.md. By default every op of every step.
        keep: a folder for the traces, ``run0.fbt``, ``run1.fbt``, ...; else they are deleted.

    Returns what was compared, in words. AssertionError with the text of ``firstbit diff`` where two
    runs differ or cannot be compared to their end; what the function raises passes through.
    """
    if runs < 2:
        raise ValueError(f"firstbit: runs is {runs}, expected at least 2")
    options = {"level": level, "ops_steps": ops_steps}
    call = _record_in_process if processes else _record
    text = ""
    with tempfile.TemporaryDirectory(prefix="firstbit-") as folder:
        folder = keep or folder
        os.makedirs(folder, exist_ok=True)
        traces = [os.path.join(folder, f"run{i}.fbt") for i in range(runs)]
        for i, trace in enumerate(traces):
            call(trace, function, args, kwargs, seed, options)
            if i > 0:
                text = _compare(traces[0], trace)
    return text
