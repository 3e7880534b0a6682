# SPDX-License-Identifier: Apache-2.0
"""The dispatch mode: which event made an op's inputs, and one event for each output.

`Core` does it in Python. The extension module firstbit.torch._fast has a class of the same name
and methods that does it in less time; `new_core` takes that one where it was built.
"""

import ctypes
import importlib.machinery
import importlib.util
import os
import threading
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch.utils import _python_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from .. import _library as lib
from ..recorder import EventRef
from .contents import DTYPES, address_of, look, obstacle, storage_of, version_of
from .ops import OpInfo, collect

if TYPE_CHECKING:
    from .session import Session

_expired = torch.UntypedStorage._expired
_PARTS_MAX = 1024  # writes into one storage that are told apart
_VIEWS_MAX = 512  # bytes of the text that says so
_free_weak_ref = torch.UntypedStorage._free_weak_ref


class Maker(NamedTuple):
    """What made the contents of a storage."""

    weak: int            # reference to the storage
    versions: range      # of the storage, as long as nobody else has written to it
    ref: EventRef
    path: Optional[str]  # of the module; None for what the backward pass made
    param: bool          # a parameter or state
    number: int          # of the storage, in the order in which parameters were first seen; or 0
    undefined: bool = False           # its contents mean nothing yet
    parts: Tuple[EventRef, ...] = ()  # where `ref` wrote only a part: what made the rest
    shown: Tuple[int, int] = (0, 0)   # address and elements, of what came from outside and is a part


class Makers:
    """Which event made what a storage holds: by address, as long as the storage lives and lies there.

    A weak reference keeps an address from meaning two storages, so that neither the allocator's
    history nor garbage collection decides what a trace says. A storage that moves, as in `resize_`,
    leaves an address to others while it lives: `forget` says so, and `put` looks whose it is.
    """

    def __init__(self) -> None:
        self._of: Dict[int, Maker] = {}
        self._limit = 1 << 14
        self._numbered = 0

    def find(self, tensor: torch.Tensor) -> Optional[Maker]:
        """What made its contents; None where nobody saw that."""
        entry = self._of.get(address_of(tensor))
        if entry is None or version_of(tensor) not in entry.versions or _expired(entry.weak):
            return None
        if entry.shown[0] and entry.shown != (tensor.data_ptr(), tensor.numel()):
            return None
        return entry

    def learned_there(self, tensor: torch.Tensor) -> Optional[Maker]:
        """The parameter whose storage a tensor shows that has other versions, as `p.data` has: what
        it was last is what this one is made from."""
        entry = self._of.get(address_of(tensor))
        if entry is None or not entry.param or entry.shown[0] or _expired(entry.weak):
            return None
        return entry

    def show(self, tensor: torch.Tensor) -> bool:
        """It was given a storage as it is: what made that made its contents. Whether that is known.
        """
        address = address_of(tensor)
        entry = self._of.get(address)
        if entry is None or entry.undefined or _expired(entry.weak):
            return False
        version = version_of(tensor)
        self._of[address] = entry._replace(versions=range(version, version + 2))
        return True

    def put(self, tensor: torch.Tensor, ref: EventRef, path: Optional[str],
            written: bool = False, param: bool = False, undefined: bool = False) -> None:
        """written: an op has just changed it in place; PyTorch counts that after the op returns to
        its caller, so the count of the present and the next one both belong to the event."""
        parts: Tuple[EventRef, ...] = ()
        address = address_of(tensor)
        if address == 0:
            return
        entry = self._of.get(address)
        if entry is not None and (_expired(entry.weak) or  # the reference is its address
                                  storage_of(tensor)._cdata != entry.weak):
            self.forget(address)
            entry = None
        if entry is None:
            if len(self._of) >= self._limit:
                self._sweep()
            weak, number = storage_of(tensor)._weak_ref(), 0
        else:
            weak, number = entry.weak, entry.number
        version = version_of(tensor)
        if entry is not None and written and version in entry.versions and (
                tensor.numel() * tensor.element_size() < storage_of(tensor).nbytes()):
            parts = entry.parts if entry.undefined else entry.parts + (entry.ref,)
            if len(parts) > _PARTS_MAX:  # the one below all others stays
                parts = parts[:1] + parts[2:]
        self._of[address] = Maker(weak, range(version, version + 1 + written), ref, path, param,
                                  number, undefined, parts)

    def show_part(self, tensor: torch.Tensor) -> None:
        """It came from outside: what it does not show of its storage stays unknown."""
        address = address_of(tensor)
        entry = self._of.get(address)
        if entry is not None and (
                tensor.numel() * tensor.element_size() < storage_of(tensor).nbytes()):
            self._of[address] = entry._replace(shown=(tensor.data_ptr(), tensor.numel()))

    def share(self, args: Tuple[Any, ...]) -> bool:
        """Whether the first two arguments lie at two places of one storage: `x[i] += y` copies an
        element to where it is."""
        first = address_of(args[0])
        return first != 0 and len(args) > 1 and isinstance(args[1], torch.Tensor) and (
            first == address_of(args[1])) and args[0].data_ptr() != args[1].data_ptr()

    def number(self, tensor: torch.Tensor) -> int:
        """Of the storage that a parameter lies in: tied ones have the same."""
        address = address_of(tensor)
        entry = self._of.get(address)
        if entry is None or _expired(entry.weak):
            return 0
        if entry.number == 0:
            self._numbered += 1
            entry = self._of[address] = entry._replace(number=self._numbered)
        return entry.number

    def forget(self, address: int) -> None:
        """What lay there lies there no more."""
        entry = self._of.pop(address, None)
        if entry is not None:
            _free_weak_ref(entry.weak)

    def held(self) -> List[Tuple[int, int]]:
        """Each address, and the weak reference to the storage there."""
        return [(address, entry.weak) for address, entry in self._of.items()]

    def _sweep(self) -> None:
        for address, entry in list(self._of.items()):
            if _expired(entry.weak):
                _free_weak_ref(entry.weak)
                del self._of[address]
        self._limit = max(1 << 14, 2 * len(self._of))

    def clear(self) -> None:
        for entry in self._of.values():
            _free_weak_ref(entry.weak)
        self._of.clear()


class Core(TorchDispatchMode):
    """Active while a step records ops. Calls each as it is, then looks at what came."""

    def __init__(self, session: "Session") -> None:
        super().__init__()
        self.session = session
        self.makers = Makers()
        self.infos: Dict[Any, OpInfo] = {}
        self.left_thread = 0
        self.owners: Dict[EventRef, str] = {}  # a gradient, and the module that it went into

    # --- Tensors ----------------------------------------------------------------------------------

    def record(self, tensor: torch.Tensor, kind: int, phase: str, path: str, op: str, slot: str,
               inputs: List[EventRef], stacked: bool, undefined: bool = False,
               written: bool = False, arguments: str = "", made: bool = True) -> EventRef:
        """One event for a tensor, which from here on is what made its contents, where `made`. kind:
        a number of lib.KINDS. stacked: a new site gets the program's call stack."""
        session = self.session
        recorder = session.recorder
        source = session.calls if stacked else None
        seen = look(tensor, session.left_out)
        if seen is None:
            number = recorder.site(_KINDS[kind], phase, path, op, slot, dtype="u8",
                                   arguments=arguments, source=source)
            return recorder.event(number, flags=lib.UNDEFINED, inputs=inputs)
        _, shape, address, count, _owner = seen
        number = recorder.site(_KINDS[kind], phase, path, op, slot, dtype=DTYPES[tensor.dtype],
                               shape=shape, arguments=arguments, source=source)
        param, storage = kind == lib.KINDS["param"], 0
        where = path.rpartition(".")[0] if param else None if phase == "backward" else path
        if param:
            self.makers.put(tensor, recorder.ref(number), where, written, True)
            storage = self.makers.number(tensor)
        if undefined:
            ref = recorder.event(number, flags=lib.UNDEFINED, inputs=inputs)
        else:
            # An empty tensor has an address of 0: any other says that its contents are known.
            ref = recorder.event(number, address=address or 8, count_bytes=count, storage=storage,
                                 version=version_of(tensor), inputs=inputs)
        if made and not param:
            self.makers.put(tensor, ref, where, written, False, undefined)
        return ref

    def _record_entered(self, tensor: torch.Tensor, path: str, op: str, slot: str) -> EventRef:
        """Contents that nobody saw made. A parameter stays one, whatever shows its memory."""
        learned = self.makers.learned_there(tensor)
        shown = learned is not None and version_of(tensor) < learned.versions.start  # as `p.data`
        ref = self.record(tensor, lib.KINDS["tensor"], self.session.phase, path, op, slot,
                          [] if learned is None else [learned.ref], True, made=not shown)
        if learned is not None and not shown:
            self.makers.put(tensor, ref, learned.path, False, True)
        elif learned is None:
            self.makers.show_part(tensor)
        return ref

    def record_plain(self, tensor: torch.Tensor, kind: int, phase: str, path: str, op: str,
                     slot: str, inputs: Optional[List[EventRef]]) -> Optional[EventRef]:
        """The same as `record`, with a stack, of a tensor whose rows lie in this process's memory;
        of others nothing is recorded, and it is None. inputs: None for the event that made its
        contents. This core leaves all to `record`."""
        return None

    def find(self, tensor: torch.Tensor) -> Optional[EventRef]:
        """The event that made its contents; None where nobody saw that."""
        maker = self.makers.find(tensor)
        return None if maker is None else maker.ref

    def undefined(self, tensor: torch.Tensor) -> int:
        """The weak reference to the storage where its contents mean nothing yet; else, and where
        nobody saw what made them, 0."""
        maker = self.makers.find(tensor)
        return maker.weak if maker is not None and maker.undefined else 0

    def put(self, tensor: torch.Tensor, ref: EventRef, path: str, param: bool = False,
            undefined: bool = False) -> None:
        """This event made its contents. param: those of a parameter. undefined: they mean nothing
        yet."""
        self.makers.put(tensor, ref, path, False, param, undefined)

    def end_step(self) -> None:
        """Forgets what belongs to one step."""
        self.owners.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self.makers.clear()
        self.owners.clear()

    def forget(self, address: int) -> None:
        """The storage that lay there has moved."""
        self.makers.forget(address)

    def held(self) -> List[Tuple[int, int]]:
        """The storages whose makers are known: the address of each, and a weak reference to it."""
        return self.makers.held()

    def leave_thread(self, thread: int) -> None:
        """What this thread computes is recorded no more, though the mode is active there."""
        self.left_thread = thread

    # --- Ops --------------------------------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Tuple[Any, ...] = (),
                           kwargs: Optional[Dict[str, Any]] = None) -> Any:
        kwargs = kwargs or {}
        session = self.session
        if not session.ops or session.waiting or (
                self.left_thread and threading.get_ident() == self.left_thread):
            return func(*args, **kwargs)
        info = self.infos.get(func)
        if info is None:
            info = self.infos[func] = OpInfo(func)
        if info.collective:
            session.hold(args, kwargs)
        if info.ignored or info.view or (session.updating and not info.random):
            return func(*args, **kwargs)
        inputs, path, views = session.guarded(self._inputs, info, args, kwargs) or ([], "", "")
        before = session.before_draw(info, args, kwargs) if info.random else None
        places = session.before_move(info, args, kwargs) if info.resizes else None
        out = func(*args, **kwargs)
        if places is not None:
            session.after_move(places)
        if before is not None:
            draw = session.after_draw(before, info, out, path)
            if draw is not None:  # what came is made of these numbers
                inputs.append(draw)
        session.guarded(self._outputs, info, args, kwargs, out, inputs, path, views)
        return out

    def _inputs(self, info: OpInfo, args: Tuple[Any, ...],
                kwargs: Dict[str, Any]) -> "tuple[list, str, str]":
        """References to what made the inputs, and the path of the forward op that one of them is
        from, for ops of the backward pass, and which inputs begin at another place than their
        storage. Contents that nobody saw made are recorded as such."""
        session, path = self.session, self.session.modules.path
        if session.updating:  # updates are recorded as parameters and states
            return [], path, ""
        tensors: List[torch.Tensor] = []
        for name, value in zip(info.names, args):
            if name not in info.ignored_inputs:
                collect(value, tensors)
        for name, value in kwargs.items():
            if name not in info.ignored_inputs:
                collect(value, tensors)
        refs = []
        found = [self.makers.find(t) for t in tensors]
        if session.phase == "backward" and not session.modules.stack:
            owner = self._owner([maker for maker in found if maker is not None])
            path = path if owner is None else owner
        for i, (tensor, maker) in enumerate(zip(tensors, found)):
            if maker is not None:
                refs.append(maker.ref)
            elif not session.is_nothing(tensor):
                refs.append(self._record_entered(tensor, path, info.name, f"in{i}"))
        for maker in found:
            refs += () if maker is None else maker.parts
        return refs, path, offsets("in", tensors)

    def _owner(self, makers: List[Maker]) -> Optional[str]:
        """The module whose backward pass an op belongs to: that of the parameter it uses, else of
        what it uses from the forward pass; and of the op that used the same gradient before."""
        gradients = [maker.ref for maker in makers if maker.path is None]
        for ref in gradients:
            if ref in self.owners:
                return self.owners[ref]
        path = None
        for maker in makers:
            if maker.path is not None:
                path = maker.path
                if maker.param:
                    break
        if path is not None:
            self.owners.update((ref, path) for ref in gradients)
        return path

    def _outputs(self, info: OpInfo, args: Tuple[Any, ...], kwargs: Dict[str, Any], out: Any,
                 inputs: List[EventRef], path: str, views: str) -> None:
        session = self.session
        if session.updating:
            return
        outputs: List[torch.Tensor] = []
        collect(out, outputs)
        if not outputs and info.mutable:  # foreach ops change lists and return nothing
            outputs = info.changed(args, kwargs)
        if info.shows and outputs and self.makers.show(outputs[0]):
            return
        if info.mutable and info.overwrites:
            views = offsets("out", outputs, views)
        told = info.arguments(args, kwargs, views)
        undefined = info.undefined or info.moves and self.makers.share(args)
        for i, tensor in enumerate(outputs):
            self.record(tensor, lib.KINDS["tensor"], session.phase, path, info.name,
                        "out" if i == 0 else f"out{i}", inputs, True,
                        undefined or i in info.workspaces, bool(info.mutable), told)


def offsets(slot: str, tensors: List[torch.Tensor], text: str = "") -> str:
    """text, and which of these begin at another place than their storage: of what made both
    contents are equal, it may be another part of them."""
    for i, tensor in enumerate(tensors):
        if address_of(tensor) and tensor.storage_offset():
            name = f"{slot}{i}" if i > 0 or slot == "in" else slot
            more = f'{"," if text else ""}"{name}.offset":{tensor.storage_offset()}'
            if len(text) + len(more) < _VIEWS_MAX:
                text += more
    return text


_KINDS = {number: name for name, number in lib.KINDS.items()}


# --- The extension module -------------------------------------------------------------------------

def _candidates() -> List[str]:
    """Where the extension may be: in the package, or in the build folder of the library in use.
    FIRSTBIT_FAST names it, or is 0 for none."""
    named = os.environ.get("FIRSTBIT_FAST")
    if named is not None:
        return [] if named == "0" else [named]
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    built = os.path.dirname(os.path.dirname(os.path.abspath(lib.path)))
    return [os.path.join(here, "_native", "_fast.abi3.so"),
            os.path.join(built, "recorders", "python", "_fast.abi3.so")]


def _load() -> Any:
    for path in _candidates():
        if not os.path.exists(path):
            continue
        try:
            name = __package__ + "._fast"
            loader = importlib.machinery.ExtensionFileLoader(name, path)
            spec = importlib.util.spec_from_file_location(name, path, loader=loader)
            assert spec is not None
            module = importlib.util.module_from_spec(spec)
            loader.exec_module(module)
        except (ImportError, OSError):
            continue  # of another Python: the slow way works everywhere
        if module.VERSION == 1:
            return module
    return None


fast = _load()

if fast is not None:
    # Before PyTorch 2 the stack of modes is kept in Python.
    _stack = None if not hasattr(_python_dispatch, "_TorchDispatchStackMode") else fast.ModeStack(
        torch._C._pop_torch_dispatch_stack, torch._C._push_on_torch_dispatch_stack,
        torch._C._len_torch_dispatch_stack, torch._C._set_torch_dispatch_mode)

    class FastCore(fast.Core, TorchDispatchMode):  # type: ignore[misc, name-defined]
        """The extension's core, as a mode."""

        def __init__(self, *given: Any) -> None:
            TorchDispatchMode.__init__(self)

        def __enter__(self) -> "FastCore":
            super().__enter__()
            if _stack is not None and torch._C._len_torch_dispatch_stack() == 1:
                torch._C._set_torch_dispatch_mode(_stack)
            return self


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def new_core(session: "Session") -> Any:
    """A core for a session: the extension's, or the one in Python; not active yet."""
    if fast is None:
        return Core(session)
    base = torch.Tensor
    phases = tuple(sorted(lib.PHASES, key=lambda name: lib.PHASES[name]))
    return FastCore(
        session, session.modules, session.recorder,
        (torch.Tensor, torch.nn.Parameter, torch._ops.OpOverload),
        (base.data_ptr, base.storage_offset, base.element_size, base.is_contiguous, base.is_neg,
         storage_of, _expired, _free_weak_ref, base.numel), phases,
        {dtype: lib.DTYPES[name] for dtype, name in DTYPES.items()},
        lambda tensor: session.guarded(look, tensor, session.left_out), OpInfo,
        _address(lib.library.fb_recorder_event), _address(lib.library.fb_recorder_site))
