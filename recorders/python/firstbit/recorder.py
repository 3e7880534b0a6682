# SPDX-License-Identifier: Apache-2.0
"""firstbit.Recorder: writes a trace from any Python program."""

import ctypes
import json
import os
import sys
import struct
import threading
import weakref
from typing import Any, Dict, Iterable, Optional, Sequence, Tuple, Union

from . import _library as lib
from ._stack import CallStack

#: Names an event for `inputs` of later ones: opaque.
EventRef = bytes

_REF = struct.Struct("<IiQ")
_EVENT = struct.Struct(lib.EVENT_FORMAT)
_LONG_BYTES = 1 << 16  # contents from which hashing lets other Python threads run

_NUMPY_DTYPES = {
    "float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16",
    "float8_e4m3fn": "f8e4m3", "float8_e5m2": "f8e5m2", "complex64": "c64", "complex128": "c128",
    "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8", "uint16": "u16",
    "uint32": "u32", "uint64": "u64", "bool": "bool"}
_FORMATS = {"d": "f64", "f": "f32", "e": "f16", "Zf": "c64", "Zd": "c128", "b": "i8", "h": "i16",
            "i": "i32", "l": "i64", "q": "i64", "B": "u8", "c": "u8", "H": "u16", "I": "u32",
            "L": "u64", "Q": "u64", "?": "bool"}

#: Members of the header of each trace that this process writes: of a part its parent and role.
process_header: Dict[str, Any] = {}

#: A file, and the id that its trace has, which other processes know already.
process_id: Optional[Tuple[str, str]] = None

_alive: "weakref.WeakSet[Recorder]" = weakref.WeakSet()


def _id_of(path: Any) -> lib.Hash:
    """Zero for one by chance."""
    if process_id is None or os.path.abspath(os.fspath(path)) != process_id[0]:
        return lib.Hash()
    return lib.Hash(hi=int(process_id[1][:16], 16), lo=int(process_id[1][16:], 16))


def _forget_in_child() -> None:
    util = sys.modules.get("multiprocessing.util")
    for recorder in list(_alive):
        recorder._forget()
        if util is not None:
            util.register_after_fork(recorder, _close_at_exit)


def _close_at_exit(recorder: "Recorder") -> None:
    """A worker of multiprocessing leaves by os._exit: without this its trace would be a torn one.
    Called when it has dropped the finalizers of its parent."""
    util = sys.modules["multiprocessing.util"]
    util.Finalize(None, recorder.close, exitpriority=0)


os.register_at_fork(after_in_child=_forget_in_child)


def _text(value: Optional[str]) -> Optional[bytes]:
    """Names longer than a trace takes keep their end, which tells them apart."""
    if value is None:
        return None
    raw = value.replace("\0", "").encode("utf-8", "replace")
    return raw if len(raw) <= lib.NAME_MAX else raw[-lib.NAME_MAX:]


class Contents:
    """Row-major bytes at an address; `owner` keeps them alive."""

    __slots__ = ("dtype", "shape", "address", "bytes", "owner")

    def __init__(self, dtype: str, shape: Tuple[int, ...], address: int, count: int, owner: Any):
        self.dtype, self.shape, self.address, self.bytes, self.owner = (
            dtype, shape, address, count, owner)


def contents_of(array: Any) -> Contents:
    """The contents of a NumPy array, of what converts to one by itself, or of a buffer. A copy is
    taken where they are not dense and little-endian; the array itself is never touched."""
    if hasattr(array, "__array__") and not hasattr(array, "__array_interface__"):
        array = array.__array__()
    if hasattr(array, "__array_interface__"):
        name = str(array.dtype)
        if name.startswith(">") or not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("<"))
            name = str(array.dtype.newbyteorder("="))
        if name not in _NUMPY_DTYPES:
            raise TypeError(f"firstbit: arrays of {name} cannot be recorded")
        if not array.flags.c_contiguous:
            array = array.copy(order="C")
        return Contents(_NUMPY_DTYPES[name], tuple(array.shape),
                        array.__array_interface__["data"][0], array.nbytes, array)
    view = memoryview(array)
    form = view.format.lstrip("@=<")
    if form not in _FORMATS:
        raise TypeError(f"firstbit: buffers of format {view.format!r} cannot be recorded")
    copy = ctypes.create_string_buffer(view.tobytes(), max(view.nbytes, 1))
    return Contents(_FORMATS[form], tuple(view.shape or ()), ctypes.addressof(copy), view.nbytes,
                    copy)


class _Scratch(threading.local):
    """Each thread's event and input references, filled anew for each call."""

    def __init__(self) -> None:
        self.buffer = (ctypes.c_char * lib.EVENT_BYTES)()
        self.address = ctypes.addressof(self.buffer)
        self.grow(64)

    def grow(self, inputs: int) -> None:
        self.inputs = (ctypes.c_char * (16 * inputs))()
        self.inputs_address = ctypes.addressof(self.inputs)


class Recorder:
    """Records a run into the trace file `path`.

    A recorder never harms the program: after a failure (a full disk) it stops recording, every call
    returns at once, and `close` returns what happened.

    Args:
        path: the file to write; an existing one is replaced.
        level: "steps", "draws", "ops", "sketch" or "values": docs/levels.md.
        ops_steps: the steps recorded at `level`, others at "draws": "0:10,every=1000"; None: all.
        values_path, values_steps, values_bytes: which contents level "values" keeps.
        max_bytes: recording ends before the file gets larger; 0: no limit.
        threads: that hash a large tensor, the calling one included, where that is faster; the call
            returns when all are done.
        header: what the trace's header says of the run, a JSON object.

    Use it as a context manager, or call `close`.
    """

    def __init__(self, path: Union[str, "os.PathLike[str]"], *, level: str = "ops",
                 ops_steps: Optional[str] = None, values_path: Optional[str] = None,
                 values_steps: Optional[str] = None, values_bytes: int = 0, max_bytes: int = 0,
                 state_every: int = 0, threads: int = 1,
                 header: Optional[Dict[str, Any]] = None) -> None:
        if level not in lib.LEVELS:
            raise ValueError(f"firstbit: level {level!r}, expected one of {', '.join(lib.LEVELS)}")
        options = lib.Options(
            size=ctypes.sizeof(lib.Options), level=lib.LEVELS[level], no_stacks=True,
            header=json.dumps({**process_header, **(header or {})}).encode(),
            state_every=state_every, max_bytes=max_bytes,
            ops_steps=_text(ops_steps), values_path=_text(values_path),
            values_steps=_text(values_steps), values_bytes=values_bytes, threads=threads,
            id=_id_of(path))
        handle, error = ctypes.c_void_p(), lib.Error()
        self._handle: Optional[int] = None
        lib.check(lib.library.fb_recorder_open(ctypes.byref(handle), os.fsencode(path),
                                               ctypes.byref(options), ctypes.byref(error)), error)
        self._handle = handle.value
        self._scratch = _Scratch()
        self._step, self._micro = 0, lib.MICRO_NONE
        self._sites: Dict[tuple, int] = {}
        self._counts: Dict[tuple, int] = {}
        self._calls = CallStack()
        self.wants = lib.library.fb_recorder_wants(self._handle)
        _alive.add(self)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *failure: Any) -> None:
        self.close()

    def _forget(self) -> None:
        """A forked child writes a file of its own, whose sites have other numbers."""
        self._sites.clear()
        self._counts.clear()

    def close(self) -> Optional[str]:
        """Ends the trace. Returns what stopped the recording early, or None."""
        if self._handle is None:
            return None
        handle, self._handle, error = self._handle, None, lib.Error()
        _alive.discard(self)
        self.wants = 0
        if lib.library.fb_recorder_close(handle, ctypes.byref(error)) == 0:
            return None
        return error.text.decode("utf-8", "replace")

    def step(self, step: Optional[int] = None) -> int:
        """Begins step `step`, or the next one. Step 0, where a recorder starts, is everything
        before the first update; call it at the start of step 1, 2, ..."""
        self._step = self._step + 1 if step is None else step
        self._counts.clear()
        if self._handle is not None:
            lib.library.fb_recorder_step(self._handle, self._step)
            self.wants = lib.library.fb_recorder_wants(self._handle)
        return self._step

    def micro(self, micro: Optional[int]) -> None:
        """Sets the micro-batch of what follows, from 0; None for none."""
        self._micro = lib.MICRO_NONE if micro is None else micro
        if self._handle is not None:
            lib.library.fb_recorder_micro(self._handle, self._micro)

    @property
    def events(self) -> int:
        """How many events have been recorded so far."""
        if self._handle is None:
            return 0
        stats = lib.Stats()
        lib.library.fb_recorder_get_stats(self._handle, ctypes.byref(stats))
        return stats.events

    @property
    def current_step(self) -> int:
        return self._step

    # --- Sites and events -------------------------------------------------------------------------

    def site(self, kind: str, phase: str, path: str, op: str = "", slot: str = "", *,
             dtype: str = "", shape: Tuple[int, ...] = (), names: Tuple[str, ...] = (),
             role: str = "unknown", parameters: Tuple[float, ...] = (), arguments: str = "",
             note: bool = False, source: Optional[CallStack] = None) -> int:
        """The number of a site; the how-manieth call of an identity in a step is its occurrence.

        names: of a draw stream, algorithm, distribution, consumer (`parameters` are those of the
        distribution); of a seed the first two; of a sample the dataset. arguments: a JSON object of
        what an op was called with beside tensors. note: never part of training state. source: the
        program's call stack, of which each place that reports has a site of its own.
        """
        identity = (self._micro, phase, path, op, slot)
        occurrence = self._counts.get(identity, 0)
        self._counts[identity] = occurrence + 1
        key = (kind, phase, path, op, slot, occurrence, dtype, shape, names, role, parameters,
               arguments, note)
        place = None if source is None else source.place()
        number = self._sites.get((key, place))
        if number is None:
            number = self._new_site(key, None if source is None else source.text())
            self._sites[key, place] = number
        return number

    def _new_site(self, key: tuple, source: Optional[str]) -> int:
        (kind, phase, path, op, slot, occurrence, dtype, shape, names, role, parameters,
         arguments, note) = key
        site = lib.Site(size=ctypes.sizeof(lib.Site), kind=lib.KINDS[kind],
                        phase=lib.PHASES[phase], path=_text(path), op=_text(op), slot=_text(slot),
                        occurrence=occurrence, note=note, dtype=lib.DTYPES[dtype],
                        rank=min(len(shape), lib.RANK_MAX + 1), role=lib.ROLES[role])
        for i, size in enumerate(shape[:lib.RANK_MAX]):
            site.shape[i] = size
        fields = ("dataset",) if kind == "sample" else (
            "stream", "algorithm", "distribution", "consumer")
        for field, name in zip(fields, names):
            setattr(site, field, _text(name))
        for i, parameter in enumerate(parameters[:2]):
            site.parameters[i] = parameter
        if arguments and len(arguments) <= lib.NAME_MAX:
            site.arguments = arguments.encode("utf-8", "replace")
        if source:
            site.source = source.replace("\0", "").encode("utf-8", "replace")
        return lib.library.fb_recorder_site(self._handle, ctypes.byref(site))

    def event(self, site: int, *, address: int = 0, count_bytes: int = 0, flags: int = 0,
              version: int = 0, storage: int = 0, value: float = 0.0, key: int = 0,
              counter: int = 0, count: int = 0, indices: int = 0, text: Optional[str] = None,
              inputs: Sequence[EventRef] = ()) -> EventRef:
        """One event of a site. Contents are hashed before the call returns."""
        scratch = self._scratch
        n = len(inputs)
        if n:
            if 16 * n > len(scratch.inputs):
                scratch.grow(2 * n)
            scratch.inputs[:16 * n] = b"".join(inputs)
        held = None if text is None else ctypes.create_string_buffer(
            text.replace("\0", "").encode("utf-8", "replace")[:lib.NAME_MAX])
        _EVENT.pack_into(scratch.buffer, 0, lib.EVENT_BYTES, site, flags, 0, 0,
                         version & 0xffffffff, storage, 0, 0, value, key, counter, count, indices,
                         0 if held is None else ctypes.addressof(held), scratch.inputs_address, n, address, count_bytes)
        call = lib.event_short if count_bytes < _LONG_BYTES else lib.event_long
        call(self._handle, scratch.address)
        return _REF.pack(site, self._micro, self._step)

    def ref(self, site: int) -> EventRef:
        """Names an event of this step that may not be recorded."""
        return _REF.pack(site, self._micro, self._step)

    def is_of_this_step(self, ref: EventRef) -> bool:
        """Whether the event that this names belongs to the present step."""
        return int(_REF.unpack(ref)[2]) == self._step

    def past(self, step: int, kind: str, phase: str, path: str, op: str, slot: str, *,
             dtype: str, shape: Tuple[int, ...]) -> EventRef:
        """Names the one event of this identity in an earlier step, which may not be recorded."""
        identity = (lib.MICRO_NONE, phase, path, op, slot)
        micro, self._micro = self._micro, lib.MICRO_NONE
        before = self._counts.pop(identity, None)
        try:
            number = self.site(kind, phase, path, op, slot, dtype=dtype, shape=shape)
        finally:
            self._micro = micro
            self._counts.pop(identity, None)
            if before is not None:
                self._counts[identity] = before
        return _REF.pack(number, lib.MICRO_NONE, step)

    # --- What programs call -----------------------------------------------------------------------

    def tensor(self, path: str, array: Any, *, op: str = "", slot: str = "out",
               phase: str = "forward", param: bool = False,
               inputs: Sequence[EventRef] = ()) -> Optional[EventRef]:
        """Records a tensor: a NumPy array, or any buffer. Its hash is taken before the call returns.

        param: a parameter or optimizer state after its update. inputs: what made it, as returned
        by earlier calls. Returns a reference for later `inputs` (None after `close`).
        """
        if self._handle is None:
            return None
        c = contents_of(array)
        number = self.site("param" if param else "tensor", phase, path, op, slot, dtype=c.dtype,
                           shape=c.shape, source=self._calls)
        return self.event(number, address=c.address, count_bytes=c.bytes, inputs=inputs)

    def draw(self, stream: str, count: int, *, algorithm: str = "", key: int = 0, counter: int = 0,
             values: Any = None, distribution: str = "", consumer: str = "",
             phase: str = "data") -> Optional[EventRef]:
        """Records that `count` random numbers were taken from `stream`: at position `counter` where
        the generator has one, else with the `values` that came."""
        if self._handle is None:
            return None
        number = self.site("draw", phase, stream, "draw",
                           names=(stream, algorithm, distribution, consumer),
                           source=self._calls)
        c = None if values is None else contents_of(values)
        return self.event(number, key=key, counter=counter, count=count,
                          address=c.address if c else 0, count_bytes=c.bytes if c else 0)

    def seed(self, stream: str, seed: int, *, algorithm: str = "", op: str = "seed",
             note: bool = False, source: Optional[CallStack] = None) -> Optional[EventRef]:
        """Records that a generator was seeded; or with op "set_state" put into a state, or with
        "begins" found in one when it is first used: `seed` is a hash of it. note, source: as of
        `site`."""
        if self._handle is None:
            return None
        phase = "data" if self._step else "init"
        number = self.site("seed", phase, stream, op, names=(stream, algorithm), note=note,
                           source=source or self._calls)
        return self.event(number, key=seed & 0xffffffffffffffff)

    def sample(self, dataset: str, indices: Optional[Iterable[int]] = None, *, count: int = 0,
               role: str = "unknown", epoch: int = 0, contents: Any = None,
               arguments: str = "") -> Optional[EventRef]:
        """Records which samples made this batch. role: "train", "val", "test": as declared.
        arguments: as of `site`."""
        if self._handle is None:
            return None
        listed = None if indices is None else [int(i) & 0xffffffffffffffff for i in indices]
        if listed is not None:
            count = len(listed)
            listed = (ctypes.c_uint64 * count)(*listed) if count <= lib.INDICES_MAX else None
        c = None if contents is None else contents_of(contents)
        number = self.site("sample", "data", dataset, "sample", names=(dataset,), role=role,
                           arguments=arguments, source=self._calls)
        return self.event(number, counter=epoch, count=count,
                          indices=ctypes.addressof(listed) if listed is not None else 0,
                          address=c.address if c else 0, count_bytes=c.bytes if c else 0)

    def scalar(self, path: str, value: float, *, slot: str = "value", phase: str = "loss",
               dtype: str = "f64", inputs: Sequence[EventRef] = ()) -> Optional[EventRef]:
        """Records a loss, learning rate, norm: "f64", or "f32" for a number that is one."""
        if self._handle is None:
            return None
        number = self.site("scalar", phase, path, "", slot, dtype=dtype, source=self._calls)
        value = float(value)
        finite = value - value == 0.0
        return self.event(number, value=value, flags=0 if finite else 1, inputs=inputs)

    def mode(self, path: str, on: bool, *, slot: str, op: str = "mode",
             phase: str = "forward", arguments: str = "",
             source: Optional[CallStack] = None) -> Optional[EventRef]:
        """Records that a mode is on or off: training, gradients. arguments, source: as of `site`."""
        if self._handle is None:
            return None
        return self.event(self.site("mode", phase, path, op, slot, arguments=arguments,
                                    source=source or self._calls), value=float(bool(on)))

    def checkpoint(self, path: str, op: str, *, file: Optional[str] = None,
                   source: Optional[CallStack] = None) -> Optional[EventRef]:
        """Records that state was written or read; never part of training state by itself. path: of
        what; op: "load", "save"; file: its name without folder. source: as of `site`."""
        if self._handle is None:
            return None
        return self.event(self.site("checkpoint", "checkpoint", path, op, source=source or self._calls), text=file)

    def stop(self, reason: str) -> None:
        """Ends the recording here, because what comes next cannot be told: the trace says that it
        was stopped, and why, and is never taken for a whole one."""
        if self._handle is not None:
            lib.library.fb_recorder_stop(self._handle, reason.encode("utf-8", "replace"))
            self.wants = 0

    def mark(self, text: str) -> None:
        """Records a note; never part of training state."""
        if self._handle is not None:
            lib.library.fb_recorder_mark(self._handle, text.encode("utf-8", "replace")[:65000])
