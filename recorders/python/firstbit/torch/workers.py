# SPDX-License-Identifier: Apache-2.0
"""What DataLoader workers draw: the generators' states around each batch that one fetches.

A worker is a forked process. It writes the states into a pipe before the batch goes its way, so they
are there when the batch arrives; the batch itself is as it would be. A full pipe is never waited for.
"""

import collections
import ctypes
import functools
import json
import multiprocessing
import os
import random
import sys
import weakref
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, List, Optional, Tuple

import torch
from torch.utils.data import _utils, dataloader

from .draws import number_of, numpy_number, numpy_state, python_state, state_number

if TYPE_CHECKING:
    from .session import Session

_LINE_MAX = 4096  # bytes that a pipe takes at once: PIPE_BUF
_OWN_MAX = 4  # generators of a data set's own

States = Dict[str, int]


class Workers:
    """The pipe, in the recorded process and in the workers that inherit it."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.ends: Optional[Tuple[int, int]] = None
        self.serial = 0  # of the iterator that is made last
        self.serials: "weakref.WeakKeyDictionary[Any, int]" = weakref.WeakKeyDictionary()
        self.told: Dict[Tuple[int, int], Any] = {}
        self.rest = b""
        self.finder = _Own()

    # --- In the recorded process ------------------------------------------------------------------

    def begin(self, loader: Any) -> None:
        """Before it starts workers."""
        if getattr(loader, "num_workers", 0) == 0 or not self.session.wants("data"):
            return
        context = getattr(loader, "multiprocessing_context", None)
        method = (context.get_start_method() if context is not None
                  else multiprocessing.get_start_method())
        if method != "fork":
            self.session.unseen.add("draws of DataLoader workers that are not forked")
            return
        if self.ends is None:
            self.ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.serial += 1

    def began(self, iterator: Any) -> None:
        if self.ends is not None and isinstance(iterator,
                                                dataloader._MultiProcessingDataLoaderIter):
            self.serials.setdefault(iterator, self.serial)

    def arrived(self, iterator: Any, dataset: str) -> None:
        """A batch has come: what the worker drew for it is recorded."""
        serial = self.serials.get(iterator)
        if serial is None or not getattr(iterator, "_in_order", True):
            return
        self._read()
        facts = self.told.pop((serial, iterator._rcvd_idx - 1), None)
        if facts is None:
            return
        worker, before, after = facts
        recorder = self.session.recorder
        for stream in before:
            if after.get(stream) == before[stream]:
                continue
            path = f"worker{worker}.{stream}"
            number = recorder.site("draw", "data", path, "fetch",
                                   names=(path, "", "fetch", dataset),
                                   note=stream not in ("torch", "python", "numpy"))
            held = ctypes.c_uint64(after.get(stream, 0))
            recorder.event(number, key=before[stream], address=ctypes.addressof(held),
                           count_bytes=8)

    def _read(self) -> None:
        assert self.ends is not None
        while True:
            try:
                part = os.read(self.ends[0], 1 << 16)
            except BlockingIOError:
                break
            if not part:
                break
            self.rest += part
        lines = self.rest.split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            serial, place, *facts = json.loads(line)
            self.told[serial, place] = facts
        while len(self.told) > 4096:  # of iterators that the program left
            del self.told[next(iter(self.told))]

    def close(self) -> None:
        ends, self.ends = self.ends, None
        for end in ends or ():
            os.close(end)

    # --- In a worker ------------------------------------------------------------------------------

    def replace_fetch(self, replace: Callable[[Any, str, Any], None]) -> None:
        """replace(owner, name, make): as Hooks._replace."""
        workers = self

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def fetch(fetcher: Any, index: Any) -> Any:
                if workers.ends is None or _utils.worker.get_worker_info() is None:
                    return original(fetcher, index)
                place = sys._getframe(1).f_locals.get("idx")
                before = workers._states(fetcher)
                try:
                    return original(fetcher, index)
                finally:
                    workers._tell(place, before, workers._states(fetcher))
            return fetch

        for name in ("_MapDatasetFetcher", "_IterableDatasetFetcher"):
            replace(getattr(_utils.fetch, name), "fetch", make)

    def _states(self, fetcher: Any) -> States:
        """Numbers of the states of all generators that the worker may draw from."""
        try:
            found = {"torch": state_number(torch.default_generator.get_state())}
            for stream, state in (("python", python_state()), ("numpy", numpy_state())):
                if state is not None:
                    found[stream] = state[0]
            for stream, generator in self.finder.of(fetcher):
                found[stream] = _number(generator)
            return found
        except Exception:  # a worker fetches, whatever it draws from
            return {}

    def _tell(self, place: Any, before: States, after: States) -> None:
        try:
            worker = _utils.worker.get_worker_info()
            line = json.dumps([self.serial, place, worker.id, before, after],
                              separators=(",", ":")).encode() + b"\n"
            if isinstance(place, int) and before and len(line) <= _LINE_MAX:
                assert self.ends is not None
                os.write(self.ends[1], line)
        except (OSError, ValueError, TypeError):
            pass  # full: what came is recorded all the same


class _Own:
    """Generators that a data set, or the module of its class, holds by itself: looked for once."""

    def __init__(self) -> None:
        self.found: Dict[int, List[Tuple[str, Any]]] = {}

    def of(self, fetcher: Any) -> List[Tuple[str, Any]]:
        known = self.found.get(id(fetcher))
        if known is None:
            known = self.found[id(fetcher)] = self._look(fetcher.dataset)
        return known

    @staticmethod
    def _look(dataset: Any) -> List[Tuple[str, Any]]:
        kinds = _kinds()
        waiting: Deque[Any] = collections.deque([dataset])
        holders: List[Any] = []
        while waiting and len(holders) < 8:  # data sets of data sets
            holder = waiting.popleft()
            holders.append(holder)
            inner = getattr(holder, "dataset", None)
            waiting.extend(inner if isinstance(inner, list) else [] if inner is None else [inner])
        module = sys.modules.get(type(holders[-1]).__module__)
        found: List[Tuple[str, Any]] = []
        for holder in [*holders, module]:
            for name, value in sorted(getattr(holder, "__dict__", {}).items()):
                if isinstance(value, kinds) and all(value is not known for _, known in found):
                    found.append((name, value))
        return found[:_OWN_MAX]


def _kinds() -> Tuple[type, ...]:
    numpy = sys.modules.get("numpy.random")
    return (random.Random, torch.Generator, *(
        (numpy.Generator, numpy.RandomState) if numpy is not None else ()))


def _number(generator: Any) -> int:
    if isinstance(generator, torch.Generator):
        return state_number(generator.get_state())
    if isinstance(generator, random.Random):
        return number_of(repr(generator.getstate()).encode())
    inner = getattr(generator, "bit_generator", None)
    return numpy_number(inner.state if inner is not None else generator.get_state(legacy=False))
