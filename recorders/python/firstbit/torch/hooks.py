# SPDX-License-Identifier: Apache-2.0
"""The places in PyTorch where a recording looks: put in when it begins, taken out when it ends.

Each replaced function calls the original and hands on what it returns or raises.
"""

import collections
import contextlib
import functools
import inspect
import multiprocessing.process
import os
import sys
import threading
import weakref
from typing import Any, Callable, Iterator, List, Tuple

import torch
from torch.utils.data import dataloader
from torch.utils.data._utils.worker import _worker_loop

from .._follow import is_pool_worker
from . import collectives, seeds
from .compiled import Regions, is_compiled
from .session import Session

_MISSING = object()
_no_dispatch = torch._C._DisableTorchDispatch
# What starts threads for others: pools of threads.
_STARTERS = tuple(os.path.join(os.path.dirname(threading.__file__), name) for name in (
    "threading.py", os.path.join("concurrent", "futures", "thread.py"),
    os.path.join("multiprocessing", "dummy")))
_THREADS_MAX = 16  # that are remembered


class Hooks:
    """All replaced functions of one recording."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._undo: List[Tuple[Any, str, Any, Any]] = []
        self._seen_classes: set = set()
        self.regions = Regions(self)
        self.regions.replace_compile()
        self._modules()
        self._backward()
        self._optimizers()
        self._clipping()
        self._data()
        self._schedules()
        self._scalers()
        self._checkpoints()
        self._storages()
        self._subclasses()
        self._processes()
        self._threads()
        seeds.replace_all(session, self._replace)
        session.host_draws.replace_all(self._replace)
        collectives.replace_all(session, self._replace)

    def remove(self) -> None:
        """Puts back what was there, unless somebody has replaced it since."""
        self.suspend()
        self._undo.clear()
        self.regions.leave_functions()

    def suspend(self) -> None:
        """Takes everything out for a while."""
        for owner, name, old, new in reversed(self._undo):
            if vars(owner).get(name, _MISSING) is not new:
                continue
            if old is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, old)

    def resume(self) -> None:
        for owner, name, old, new in self._undo:
            if vars(owner).get(name, _MISSING) is old:
                setattr(owner, name, new)

    def _replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        old = vars(owner).get(name, _MISSING)
        new = make(getattr(owner, name))
        setattr(owner, name, new)
        self._undo.append((owner, name, old, vars(owner).get(name)))

    # --- Modules ----------------------------------------------------------------------------------

    def _modules(self) -> None:
        session, regions = self.session, self.regions

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
                if not session.here():
                    session.somewhere_else()
                    return original(module, *args, **kwargs)
                modules = session.modules
                if modules.enter(module):
                    session.module_call(module)
                phase, updating = session.phase, session.updating
                if phase == "optimizer":  # a closure
                    session.phase, session.updating = "forward", False
                try:
                    if is_compiled(module):
                        out = regions.call(original, (module, *args), kwargs)
                    else:
                        out = original(module, *args, **kwargs)
                    if len(modules.stack) == 1:
                        session.results.of(module, out)
                    return out
                finally:
                    session.phase, session.updating = phase, updating
                    modules.leave()
            return call

        self._replace(torch.nn.Module, "__call__", make)

        def zero_grad(original: Any) -> Any:
            @functools.wraps(original)
            def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
                if session.here():
                    session.about_to_train()
                    session.guarded(session.event_of_mode,
                                    session.modules.path_of(module), "zero_grad")
                return original(module, *args, **kwargs)
            return call

        self._replace(torch.nn.Module, "zero_grad", zero_grad)

    # --- Backward ---------------------------------------------------------------------------------

    def _backward(self) -> None:
        engine = torch.autograd.Variable._execution_engine
        session, regions = self.session, self.regions

        class Engine:
            """The autograd engine, whose run_backward says that the backward pass runs."""

            def run_backward(self, tensors: Any, *args: Any, **kwargs: Any) -> Any:
                if not session.here():
                    session.somewhere_else()
                    return engine.run_backward(tensors, *args, **kwargs)
                if session.in_backward == 0:
                    session.backward_begins(tensors, args[3] if len(args) > 3 else ())
                phase, session.phase = session.phase, "backward"
                updating, session.updating = session.updating, False
                if phase != "backward":
                    session.guarded(session.loss, tensors)
                session.in_backward += 1
                try:
                    return regions.backward(engine.run_backward, (tensors, *args), kwargs)
                finally:
                    session.in_backward -= 1
                    session.phase, session.updating = phase, updating
                    if session.in_backward == 0:
                        if session.step_due:
                            session.end_of_step()
                        session.backward_ended(any(args[1:3]))  # the graph is kept, or made

            def __getattr__(self, name: str) -> Any:
                return getattr(engine, name)

        self._replace(torch.autograd.Variable, "_execution_engine", lambda original: Engine())

        def enter(original: Any) -> Any:
            @functools.wraps(original)
            def __enter__(block: Any) -> Any:
                out = original(block)
                if session.modules.leaves and session.here() and session.update_block(True):
                    updates.append(block)
                return out
            return __enter__

        def leave(original: Any) -> Any:
            @functools.wraps(original)
            def __exit__(block: Any, *failure: Any) -> Any:
                if updates and updates[-1] is block:
                    updates.pop()
                    session.update_block(False)
                return original(block, *failure)
            return __exit__

        updates: List[Any] = []
        self._replace(torch.no_grad, "__enter__", enter)
        self._replace(torch.no_grad, "__exit__", leave)

    # --- Optimizers -------------------------------------------------------------------------------

    def _optimizers(self) -> None:
        session, hooks = self.session, self

        def make_init(original: Any) -> Any:
            @functools.wraps(original)
            def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
                original(optimizer, *args, **kwargs)
                if session.here() or session.follow(not session.optimizers):
                    hooks._hook_class(type(optimizer))
                    session.meet_optimizer(optimizer)
            return init

        def make_zero(original: Any) -> Any:
            @functools.wraps(original)
            def zero_grad(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
                if session.here():
                    hooks._hook_class(type(optimizer))  # it may have been made without __init__
                    session.about_to_train()
                    session.guarded(session.event_of_mode,
                                    f"optimizer{session.meet_optimizer(optimizer)}", "zero_grad")
                return original(optimizer, *args, **kwargs)
            return zero_grad

        self._replace(torch.optim.Optimizer, "__init__", make_init)
        self._replace(torch.optim.Optimizer, "zero_grad", make_zero)
        for optimizer in session.optimizers:
            self._hook_class(type(optimizer))
            if "step" in vars(optimizer):  # a learning rate schedule has put its own there
                self._replace(optimizer, "step", self._make_bound_step(optimizer))

    def _hook_class(self, cls: type) -> None:
        for base in cls.__mro__:
            if "step" in vars(base) and base not in self._seen_classes and issubclass(
                    base, torch.optim.Optimizer) and base is not torch.optim.Optimizer:
                self._seen_classes.add(base)
                self._replace(base, "step", self._make_step)

    def _make_step(self, original: Any) -> Any:
        hooks = self

        @functools.wraps(original)
        def step(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            return hooks._step(optimizer, functools.partial(original, optimizer), args, kwargs)
        return step

    def _make_bound_step(self, optimizer: Any) -> Callable[[Any], Any]:
        hooks, known = self, weakref.ref(optimizer)

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def step(*args: Any, **kwargs: Any) -> Any:
                return hooks._step(known(), original, args, kwargs)
            return step
        return make

    def _step(self, optimizer: Any, original: Any, args: Tuple[Any, ...], kwargs: Any) -> Any:
        session = self.session
        if session.in_step or optimizer is None or not (
                session.here() or session.follow(session.update_count == 0)):
            return original(*args, **kwargs)
        session.in_step += 1
        phase, session.phase = session.phase, "optimizer"
        resume = False
        # Optimizers around others hand on what they were given: None, mostly.
        closed = callable(args[0] if args else kwargs.get("closure"))
        try:
            if not closed:
                session.guarded(session.updates.before, optimizer)
            session.updating = True
            if closed and args:
                args = (self._closure(optimizer, args[0]), *args[1:])
            elif closed:
                kwargs = {**kwargs, "closure": self._closure(optimizer, kwargs["closure"])}
            # Without a closure nothing in there is looked at: hundreds of small ops.
            resume = not closed and session.pause()
            out = original(*args, **kwargs)
        finally:
            if resume:
                session.resume()
            session.in_step -= 1
            session.phase, session.updating = phase, False
        session.guarded(session.updates.after, optimizer)
        session.updated(optimizer)
        return out

    def _closure(self, optimizer: Any, original: Any) -> Any:
        """What an optimizer calls for a loss is a forward and backward pass, not its update."""
        session = self.session

        @functools.wraps(original)
        def closure(*args: Any, **kwargs: Any) -> Any:
            if not session.here():
                return original(*args, **kwargs)
            phase, session.phase = session.phase, "forward"
            updating, session.updating = session.updating, False
            try:
                loss = original(*args, **kwargs)
            finally:
                session.phase, session.updating = phase, updating
            session.guarded(session.updates.before, optimizer)
            return loss
        return closure

    # --- Clipping ---------------------------------------------------------------------------------

    def _clipping(self) -> None:
        session = self.session

        def make(original: Any) -> Any:
            names = list(inspect.signature(original).parameters)[1:]

            @functools.wraps(original)
            def clip(*args: Any, **kwargs: Any) -> Any:
                if not session.here():
                    return original(*args, **kwargs)
                limits = {**dict(zip(names, args[1:])), **kwargs}
                phase, session.phase = session.phase, "optimizer"
                path, session.modules.path = session.modules.path, "clip"
                try:
                    with self._light_detach():
                        norm = original(*args, **kwargs)
                finally:
                    session.phase, session.modules.path = phase, path
                session.guarded(session.updates.clipped, norm, limits)
                return norm
            return clip

        self._replace(torch.nn.utils, "clip_grad_norm_", make)
        self._replace(torch.nn.utils, "clip_grad_value_", make)

    @contextlib.contextmanager
    def _light_detach(self) -> Iterator[None]:
        """Before PyTorch 2 clipping detaches every gradient twice, and each time a dispatch mode is
        asked twice: a fifth of a step's calls, of which nothing is recorded. Here the mode is not
        asked, where it is the only one."""
        original = vars(torch.Tensor).get("detach", _MISSING)
        if original is _MISSING or not self.session.alone():
            yield
            return

        def detach(tensor: torch.Tensor) -> torch.Tensor:
            if type(tensor) is not torch.Tensor:
                return original(tensor)
            guard = _no_dispatch()
            try:
                return original(tensor)
            finally:
                del guard

        torch.Tensor.detach = detach  # type: ignore[method-assign]
        try:
            yield
        finally:
            torch.Tensor.detach = original  # type: ignore[method-assign]

    # --- Schedules, scalers, checkpoints ----------------------------------------------------------

    def _schedules(self) -> None:
        session, module = self.session, torch.optim.lr_scheduler
        depth = [0]  # schedules that are made of schedules call these

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
                if session.here() and depth[0] == 0:
                    session.guarded(session.updates.scheduled, scheduler)
                depth[0] += 1
                try:
                    return original(scheduler, *args, **kwargs)
                finally:
                    depth[0] -= 1
            return step

        for cls in {c for c in vars(module).values() if isinstance(c, type)}:
            if cls.__module__ == module.__name__ and "step" in vars(cls):
                self._replace(cls, "step", make)

    def _scalers(self) -> None:
        session = self.session

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def update(scaler: Any, *args: Any, **kwargs: Any) -> Any:
                out = original(scaler, *args, **kwargs)
                if session.here() and scaler.is_enabled():
                    session.guarded(session.updates.loss_scale, scaler)
                return out
            return update

        self._replace(getattr(torch.amp, "GradScaler", torch.cuda.amp.GradScaler), "update", make)

    def _checkpoints(self) -> None:
        session = self.session

        def of_object(original: Any) -> Any:
            @functools.wraps(original)
            def call(owner: Any, *args: Any, **kwargs: Any) -> Any:
                if not session.here():
                    return original(owner, *args, **kwargs)
                session.guarded(session.checkpoint, owner, original.__name__)
                out = original(owner, *args, **kwargs)
                session.guarded(session.saved.restored, owner)
                return out
            return call

        def of_file(original: Any) -> Any:
            saves = original.__name__ == "save"
            at = 1 if saves else 0

            @functools.wraps(original)
            def call(*args: Any, **kwargs: Any) -> Any:
                file = args[at] if len(args) > at else kwargs.get("f")
                if session.here():
                    name = os.path.basename(file) if isinstance(file, (str, os.PathLike)) else None
                    session.guarded(session.checkpoint, "", original.__name__, name)
                    if saves:
                        what = args[0] if args else kwargs.get("obj")
                        session.guarded(session.saved.saving, what)
                    else:
                        session.guarded(session.saved.reading)
                return original(*args, **kwargs)
            return call

        for cls in (torch.nn.Module, torch.optim.Optimizer):
            self._replace(cls, "load_state_dict", of_object)
        self._replace(torch, "load", of_file)
        self._replace(torch, "save", of_file)
        session.saved.replace_safetensors(self._replace)

    # --- Data -------------------------------------------------------------------------------------

    def _data(self) -> None:
        session = self.session
        base = dataloader._BaseDataLoaderIter
        queues: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()
        loaders: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()

        def make_iter(original: Any) -> Any:
            @functools.wraps(original)
            def begin(loader: Any) -> Any:
                if session.here():
                    session.about_to_train()
                    session.guarded(session.workers.begin, loader)
                iterator = original(loader)
                if session.here():
                    session.guarded(session.workers.began, iterator)
                    loaders[iterator] = loader, session.guarded(session.begin_epoch, loader)
                return iterator
            return begin

        def make_index(original: Any) -> Any:
            @functools.wraps(original)
            def next_index(iterator: Any) -> Any:
                waiting, session.waiting = session.waiting, False
                try:
                    index = original(iterator)
                finally:
                    session.waiting = waiting
                if session.here():
                    queues.setdefault(iterator, collections.deque()).append(index)
                return index
            return next_index

        def make_next(original: Any) -> Any:
            @functools.wraps(original)
            def advance(iterator: Any) -> Any:
                # Which batches of workers arrive here is a matter of time.
                waiting, session.waiting = session.waiting, isinstance(
                    iterator, dataloader._MultiProcessingDataLoaderIter)
                try:
                    batch = original(iterator)
                finally:
                    session.waiting = waiting
                queue = queues.get(iterator)
                loader, epoch = loaders.get(iterator, (None, None))
                if session.here() and queue and epoch is not None:
                    session.forward_begins()
                    session.guarded(session.sample, loader, iterator, epoch, queue.popleft(), batch)
                return batch
            return advance

        self._replace(torch.utils.data.DataLoader, "__iter__", make_iter)
        self._replace(base, "_next_index", make_index)
        self._replace(base, "__next__", make_next)
        session.workers.replace_fetch(self._replace)

    # --- Storages ---------------------------------------------------------------------------------

    def _storages(self) -> None:
        """What made a storage's contents is known by its address, which resizing changes, and
        sharing with other processes."""
        session = self.session

        def make(original: Any) -> Any:
            resizes = original.__name__ == "resize_"

            @functools.wraps(original)
            def move(storage: Any, *args: Any, **kwargs: Any) -> Any:
                address = session.guarded(storage.data_ptr)
                if address and resizes:  # its contents are not kept, wherever they lie
                    session.guarded(session.core.forget, address)
                out = original(storage, *args, **kwargs)
                if address and session.guarded(storage.data_ptr) != address:
                    session.guarded(session.core.forget, address)
                return out
            return move

        for name in ("resize_", "_share_fd_cpu_", "_share_filename_cpu_"):
            self._replace(torch.UntypedStorage, name, make)

    # --- Subclasses -------------------------------------------------------------------------------

    def _subclasses(self) -> None:
        """While a mode is active a tensor cannot be made by a subclass, before PyTorch 2 not by
        torch.Tensor either nor become one of a subclass: it has a Python object already."""
        session = self.session
        early = not hasattr(torch.Tensor, "untyped_storage")

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def as_subclass(tensor: torch.Tensor, cls: type) -> Any:
                guard = torch._C._DisableTorchDispatch()
                try:
                    return original(tensor, cls)
                finally:
                    del guard
            return as_subclass

        def make_new(original: Any) -> Any:
            @functools.wraps(original)
            def new(cls: type, *args: Any, **kwargs: Any) -> Any:
                if cls is torch.Tensor and not early:
                    return original(cls, *args, **kwargs)
                guard = torch._C._DisableTorchDispatch()
                try:
                    tensor = original(cls, *args, **kwargs)
                finally:
                    del guard
                if session.here() and session.ops and not set(kwargs) - {"size"} and all(
                        isinstance(a, (int, torch.Size)) for a in args):
                    session.guarded(session.made_of_sizes, tensor)
                return tensor
            return new

        self._replace(torch.Tensor, "__new__", make_new)
        if early:
            self._replace(torch.Tensor, "as_subclass", make)

    # --- Processes --------------------------------------------------------------------------------

    def _processes(self) -> None:
        """Processes that are not recorded are named."""
        session = self.session

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def start(process: Any) -> None:
                if session.active and getattr(process, "_target", None) is not _worker_loop:
                    method = type(process)._start_method or multiprocessing.get_start_method()
                    if is_pool_worker(process):
                        session.unseen.add("what the workers of process pools do")
                    elif method != "spawn":
                        session.unseen.add("what forked processes do")
                original(process)
            return start

        self._replace(multiprocessing.process.BaseProcess, "start", make)

    def _threads(self) -> None:
        """So are threads that the program starts itself; what libraries start is their affair."""
        session = self.session

        def make(original: Any) -> Any:
            @functools.wraps(original)
            def start(thread: threading.Thread) -> None:
                frame = sys._getframe(1)
                while frame.f_back is not None and frame.f_code.co_filename.startswith(_STARTERS):
                    frame = frame.f_back
                if session.active and session.is_program(frame.f_code):
                    session.threads.append(thread)
                    del session.threads[:-_THREADS_MAX]
                original(thread)
            return start

        self._replace(threading.Thread, "start", make)
