# SPDX-License-Identifier: Apache-2.0
"""A recording of a PyTorch program: its steps, and what is recorded at which place.

Only the thread that began it is recorded. Nothing here changes a tensor, draws a random number or
touches autograd's graph: contents are read through their address, or from a copy.
"""

import json
import os
import sys
import threading
import weakref
from typing import Any, Callable, Dict, List, Optional

import torch

from .. import _library as lib
from ..recorder import EventRef, Recorder
from .collectives import hold
from .contents import DTYPES, address_of, local, obstacle, readable, tensors_in
from .core import new_core
from .draws import Draws
from .host_draws import HostDraws
from .paths import Calls, Modules
from .program import autocast
from .results import Results
from .samples import base_of, digest, loader_arguments
from .saved import Saved
from .updates import Updates
from .workers import Workers

_no_dispatch = torch._C._DisableTorchDispatch


class Session:
    """One recording. `firstbit.torch.record` makes it and gives it to the program.

    Events of one class are the same at every level: a scalar names no op as its input.
    """

    def __init__(self, recorder: Recorder, modules: Dict[str, torch.nn.Module],
                 optimizers: List[torch.optim.Optimizer]) -> None:
        self.recorder = recorder
        self.thread = threading.get_ident()
        self.modules = Modules(modules)
        self.calls = Calls(self.modules)
        self.draws = Draws(self)
        self.host_draws = HostDraws(self)
        self.workers = Workers(self)
        self.updates = Updates(self)
        self.results = Results(self)
        self.saved = Saved(self)
        self.phase = "init"
        self.left_out: Dict[str, int] = {}
        self.optimizers: List[torch.optim.Optimizer] = []
        self.lead: Optional[torch.optim.Optimizer] = None
        self.update_count = 0  # of the lead
        self.born: List[int] = []  # by optimizer: how many there were when it was met
        self.seeded: "set[str]" = set()  # streams whose state is known to repeat
        self.by_hand = False  # the program says where steps begin
        self.in_step = self.in_backward = 0
        self.step_due = False  # an optimizer has stepped within a backward pass, which goes on
        self.by_backward = False  # no optimizer: backward passes count the steps
        self.updating_by_hand = ""  # such a step's backward pass is over: "surely", or "perhaps"
        self.moved = False  # the recorded thread is not the one that began
        self.unseen: "set[str]" = set()  # what is not recorded, for the scope
        self.threads: List[threading.Thread] = []  # that the program has started
        self.waiting = False  # for the batches of other processes
        self.updating = False  # an optimizer computes: its results are recorded, not its ops
        self.failed = False
        self.active = True
        self.dispatching = False
        self.grads: Dict[int, EventRef] = {}
        self.roles: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()
        self.epochs: "weakref.WeakKeyDictionary[Any, int]" = weakref.WeakKeyDictionary()
        self.ops = False
        self.core = new_core(self)
        for optimizer in optimizers:
            self.meet_optimizer(optimizer)
        self._set_depth()

    # --- Guard ------------------------------------------------------------------------------------

    def here(self) -> bool:
        """Whether this thread of this process is recorded."""
        return self.active and threading.get_ident() == self.thread

    def follow(self, begins: bool) -> bool:
        """Another thread than the recorded one makes its optimizer, or takes a step. The one that
        begins the training is recorded from there on. True where that is this thread now."""
        if not self.active or not begins or self.moved:
            self.somewhere_else()
            return False
        self.core.leave_thread(self.thread)  # whose modes cannot be taken from here
        self.moved, self.dispatching, self.thread = True, False, threading.get_ident()
        self.modules.restart()
        self._set_depth()
        return True

    def somewhere_else(self) -> None:
        """What this thread does is not recorded: what it changes is seen where the recorded one
        reads it."""
        if self.active:
            self.unseen.add("modules and backward passes of other threads")

    def guarded(self, call: Callable[..., Any], *args: Any) -> Any:
        """Calls what records. No failure of it reaches the program: the first one is told on
        stderr and ends the recording."""
        if not self.active:
            return None
        guard = _no_dispatch()  # modes of the program see nothing of what is done here
        try:
            return call(*args)
        except Exception as failure:  # whatever it is, training goes on
            if self.fail(failure):
                raise
            return None
        finally:
            del guard

    def fail(self, failure: BaseException) -> bool:
        """Ends the recording, and tells why. True where the program is to see it: for tests."""
        self.active = self.ops = False
        self.failed = True
        said = " ".join(f"{type(failure).__name__}: {failure}".split())
        self.recorder.stop(f"the recorder failed: {said}")
        print(f"firstbit: recording ends here: {said}", file=sys.stderr)
        return bool(os.environ.get("FIRSTBIT_DEBUG"))

    # --- For the core -----------------------------------------------------------------------------

    def source(self) -> str:
        """The call stack; also asked for by the core for each new site."""
        return self.calls.text()

    def is_program(self, code: Any) -> bool:
        """For the core: whether this code object is the program's own."""
        return self.calls.is_program(code)

    def is_nothing(self, tensor: torch.Tensor) -> bool:
        """Empty, or without contents that can be read."""
        return bool(self.guarded(lambda: tensor.numel() == 0 or obstacle(tensor) is not None))

    def before_draw(self, info: Any, args: Any, kwargs: Any) -> Any:
        return self.guarded(self.draws.before, info, args, kwargs)

    def after_draw(self, before: Any, info: Any, out: Any, path: str) -> Optional[EventRef]:
        return self.guarded(self.draws.after, before, info, out, path)

    def hold(self, args: Any, kwargs: Any) -> None:
        """A process group is given these: whether ops are recorded or not."""
        self.guarded(hold, args, kwargs)

    def before_move(self, info: Any, args: Any, kwargs: Any) -> Any:
        """An op may give a tensor other memory: where the ones that it writes to lie."""
        return self.guarded(lambda: [(tensor, address_of(tensor))
                                     for tensor in info.changed(args, kwargs)])

    def after_move(self, before: Any) -> None:
        self.guarded(self._forget_moved, before or ())

    def _forget_moved(self, before: "List[tuple[torch.Tensor, int]]") -> None:
        for tensor, address in before:
            if address and address_of(tensor) != address:
                self.core.forget(address)

    def _forget_all_moved(self) -> None:
        """Ops were not looked at for a while, in which storages may have moved."""
        for address, weak in self.core.held():
            storage = torch.UntypedStorage._new_with_weak_ptr(weak)
            if storage is not None and storage.data_ptr() != address:
                self.core.forget(address)

    # --- Steps ------------------------------------------------------------------------------------

    def _set_depth(self) -> None:
        """Ops are looked at only in steps that record them."""
        looked, self.ops = self.ops, self.active and bool(
            self.recorder.wants & lib.CLASSES["ops"])
        if self.ops and not looked:
            self.guarded(self._forget_all_moved)
        if self.ops and not self.dispatching:
            self.dispatching = True
            self.core.__enter__()
        elif not self.ops:
            self._leave()

    def _leave(self) -> None:
        if self.dispatching and self._on_top():
            self.core.__exit__(None, None, None)
            self.dispatching = False

    def leave_in_child(self) -> None:
        """A forked process is not recorded, and its ops take no detour."""
        self.active = self.ops = False
        self._leave()

    def _on_top(self) -> bool:
        """Modes are left in the order of a stack: not below one of the program's."""
        try:
            from torch.utils._python_dispatch import _get_current_dispatch_mode
            return _get_current_dispatch_mode() is self.core
        except ImportError:
            from torch._C import _get_torch_dispatch_mode
            return _get_torch_dispatch_mode() is self.core

    def alone(self) -> bool:
        """Whether the dispatch mode is active, and the only one; told before PyTorch 2."""
        count = getattr(torch._C, "_len_torch_dispatch_stack", None)
        return (self.dispatching and self._on_top() and count is not None and count() == 1 and
                not hasattr(torch.Tensor, "untyped_storage"))

    def pause(self) -> bool:
        """Takes the dispatch mode away, where it is the innermost one; true where it did."""
        if not self.dispatching or not self._on_top():
            return False
        self.core.__exit__(None, None, None)
        return True

    def resume(self) -> None:
        if self.dispatching:
            self.core.__enter__()

    def next_step(self) -> None:
        self.guarded(self._end_step)
        self.results.end_step()
        if self.active:
            seen = self.wants("state")
            self.recorder.step()
            self._set_depth()
            if self.ops and not seen and self.recorder.current_step > 1:
                self.guarded(self._name_the_past)

    def _name_the_past(self) -> None:
        """Ops are recorded again, and what made the parameters was not: it has its name all the
        same, so that recordings of other steps name the same inputs. What they are is a note."""
        self._note_learned("begin")
        before = self.recorder.current_step - 1
        for name, parameter in self.modules.parameters():
            if self.by_backward:
                self._name_maker(parameter, before, "optimizer", name, "update", "param")
            else:
                self._name_maker(parameter, 0, "init", name, "init", "param")
        # Of two that hold a parameter, one around the other, the one that steps has made it.
        steps = [self.updates.stepped.get(number, 0) for number in range(len(self.optimizers))]
        for step, number in sorted(zip(steps, range(len(steps)))):
            optimizer = self.optimizers[number]
            op = type(optimizer).__name__.lower()
            for name, parameter in self.parameters_of(optimizer):
                if step > 0:
                    self._name_maker(parameter, step, "optimizer", name, op, "param")
                else:
                    self._name_maker(parameter, 0, "init", name, "init", "param")
        for name, buffer in self.modules.buffers():
            self._name_maker(buffer, before, "optimizer", name, "buffer", "buffer")

    def _name_maker(self, tensor: torch.Tensor, step: int, phase: str, path: str, op: str,
                    slot: str) -> None:
        if obstacle(tensor) is None:
            ref = self.recorder.past(step, "param", phase, path, op, slot,
                                     dtype=DTYPES[tensor.dtype], shape=tuple(tensor.shape))
            self.core.put(tensor, ref, path.rpartition(".")[0], True)

    def _end_step(self) -> None:
        if self.recorder.current_step > 0 and self.wants("state"):
            for name, buffer in self.modules.buffers():
                self.record_state(buffer, "optimizer", name, "buffer", "buffer", [])
            for name, parameter in self.modules.parameters() if self.by_backward else ():
                made = [self.grads.get(id(parameter)), self.core.find(parameter)]
                self.record_state(parameter, "optimizer", name, "update", "param",
                                  [ref for ref in made if ref is not None])
        self.draws.end_step()
        self.host_draws.end_step()
        self.grads.clear()
        self.core.end_step()

    def wants(self, name: str) -> bool:
        return self.active and bool(self.recorder.wants & lib.CLASSES[name])

    def begin_training(self) -> None:
        """Step 0 ends: the parameters are what the program made of them."""
        self.guarded(self._record_start)
        self.phase = "forward"
        self.next_step()

    def _record_start(self) -> None:
        self.saved.training_begins()
        if self.wants("data"):
            self._record_holders()
        if not self.wants("state"):
            return
        for name, tensor in self._learned():
            self.record_state(tensor, "init", name, "init", "param", [])

    def _learned(self) -> "List[tuple[str, torch.Tensor]]":
        """Parameters and buffers of all modules, and parameters that optimizers alone hold."""
        found = {id(tensor): (name, tensor)
                 for name, tensor in self.modules.parameters() + self.modules.buffers()}
        for optimizer in self.optimizers:
            for name, parameter in self.parameters_of(optimizer):
                found.setdefault(id(parameter), (name, parameter))
        return list(found.values())

    def _note_learned(self, op: str) -> None:
        """What was learned, at every level: what made it may be on no other record."""
        for name, parameter in self._learned():
            self.record_state(parameter, "checkpoint", name, op, "param", [])

    def about_to_train(self, called: bool = False) -> None:
        """With an optimizer at hand, the first batch, zero_grad() or call of a module is training:
        the first two where parameters have names already, which the call gives them at the latest.
        """
        if self.recorder.current_step == 0 and self.optimizers and not self.by_hand and (
                called or all(self.modules.name_of(parameter) is not None
                              for optimizer in self.optimizers
                              for group in optimizer.param_groups
                              for parameter in group["params"])):
            self.begin_training()

    # --- Programs without an optimizer ------------------------------------------------------------

    def backward_begins(self, tensors: Any, inputs: Any) -> None:
        """Where there is no optimizer a step is a backward pass, with what leads to it and what
        follows up to the next call of a module, or batch, with gradients, or backward pass."""
        if self.optimizers or self.by_hand:
            return
        if self.updating_by_hand == "surely":
            self.end_of_step()
        if self.recorder.current_step == 0:
            self.by_backward = True
            if not self.modules.parameters():
                self.guarded(self.modules.name_leaves, tensors, inputs)
            self.begin_training()

    def backward_ended(self, again: bool) -> None:
        """again: the graph is kept: another pass may belong to this step."""
        if not self.by_backward:
            return
        self.updating_by_hand = "perhaps" if again else "surely"
        if self.wants("state"):
            self.guarded(self.record_gradients, self.modules.parameters())
        if not self.modules.leaves:
            self.phase = "optimizer"  # up to the next forward pass, which a module's call begins

    def update_block(self, begins: bool) -> bool:
        """A program without modules and optimizers switches gradients off behind its backward pass,
        or on again: what it computes meanwhile is its update. Whether it is so."""
        if not self.modules.leaves or not self.updating_by_hand or self.in_backward or (
                self.phase != ("forward" if begins else "optimizer")):
            return False
        self.phase = "optimizer" if begins else "forward"
        return True

    def forward_begins(self) -> None:
        if self.updating_by_hand and torch.is_grad_enabled():
            self.end_of_step()

    def _record_holders(self) -> None:
        """Which parameters learn: those that want gradients, and that an optimizer holds."""
        for name, parameter in self.modules.parameters():
            self.recorder.mode(name, parameter.requires_grad, slot="requires_grad", phase="init")
        for number, optimizer in enumerate(self.optimizers):
            self.updates.hold(number, optimizer)

    def module_call(self, module: torch.nn.Module) -> None:
        """A module is called by the program itself, or in other modes than the one around it."""
        root = len(self.modules.stack) == 1
        if root:
            self.modules.caller = hash(self.calls.place())
            self.about_to_train(True)
            self.forward_begins()
        self.guarded(self._record_modes, module, root)

    def _record_modes(self, module: torch.nn.Module, root: bool) -> None:
        if not self.wants("data"):
            return
        path = self.modules.path or type(module).__name__
        self.recorder.mode(path, module.training, slot="training", source=self.calls)
        self.recorder.mode(path, torch.is_grad_enabled(), slot="grad", source=self.calls)
        for told in autocast() if root else ():
            self.recorder.mode(path, True, slot="autocast", source=self.calls,
                               arguments=json.dumps(told))

    # --- Tensors ----------------------------------------------------------------------------------

    def record_state(self, tensor: Any, phase: str, path: str, op: str, slot: str,
                     inputs: List[EventRef]) -> None:
        kind = lib.KINDS["param"]
        if not isinstance(tensor, torch.Tensor) or self.core.record_plain(
                tensor, kind, phase, path, op, slot, inputs) is not None:
            return
        tensor = local(tensor)
        if obstacle(tensor) is not None or isinstance(
                tensor, torch.nn.parameter.UninitializedTensorMixin):
            reason = obstacle(tensor) or "parameters without a shape yet"
            self.left_out[reason] = self.left_out.get(reason, 0) + 1
            return
        self.core.record(tensor, kind, phase, path, op, slot, inputs, True)

    def made_of_sizes(self, tensor: torch.Tensor) -> None:
        """By `torch.Tensor(2, 3)`: its contents mean nothing yet."""
        if obstacle(tensor) is None:
            path = self.modules.path
            number = self.recorder.site("tensor", self.phase, path, "empty", "out",
                                        dtype=DTYPES[tensor.dtype], shape=tuple(tensor.shape),
                                        source=self.calls)
            ref = self.recorder.event(number, flags=lib.UNDEFINED)
            self.core.put(tensor, ref, path, False, True)

    # --- Backward ---------------------------------------------------------------------------------

    def loss(self, tensors: Any) -> None:
        """What the backward pass begins with."""
        for i, tensor in enumerate(tensors_in(list(tensors) if isinstance(
                tensors, (list, tuple)) else tensors)):
            if tensor.numel() != 1 or obstacle(tensor) is not None or tensor.is_complex():
                continue
            dtype = "f32" if tensor.dtype == torch.float32 else "f64"
            value = readable(tensor.detach()).item()
            self.recorder.scalar("loss", value, slot="loss" if i == 0 else f"loss{i}",
                                 phase="loss", dtype=dtype)

    # --- Optimizers -------------------------------------------------------------------------------

    def meet_optimizer(self, optimizer: torch.optim.Optimizer) -> int:
        for i, known in enumerate(self.optimizers):
            if known is optimizer:
                return i
        self.by_backward, self.updating_by_hand = False, ""
        self.optimizers.append(optimizer)
        self.born.append(self.update_count)
        return len(self.optimizers) - 1

    def parameters_of(self, optimizer: torch.optim.Optimizer) -> "list[tuple[str, torch.Tensor]]":
        number = self.meet_optimizer(optimizer)
        found = []
        for g, group in enumerate(optimizer.param_groups):
            for p, parameter in enumerate(group["params"]):
                name = self.modules.name_of(parameter) or f"optimizer{number}.group{g}.param{p}"
                found.append((name, parameter))
        return found

    def record_gradients(self, parameters: "List[tuple[str, torch.Tensor]]") -> None:
        for name, parameter in parameters:
            grad = parameter.grad
            if grad is None:
                continue
            if grad.layout is torch.sparse_coo:
                self.grads[id(parameter)] = self._sparse_gradient(name, grad)
                continue
            if not self.ops:
                grad = local(grad)
                if obstacle(grad) is None:
                    number = self.recorder.site("tensor", "backward", name, "grad", "grad",
                                                dtype=DTYPES[grad.dtype], shape=tuple(grad.shape))
                    self.grads[id(parameter)] = self.recorder.ref(number)
                continue
            kind = lib.KINDS["tensor"]
            made = self.core.record_plain(grad, kind, "backward", name, "grad", "grad", None)
            if made is None:
                grad = local(grad)
                made = self.core.find(grad) if obstacle(grad) is None else None
                made = self.core.record(grad, kind, "backward", name, "grad", "grad",
                                        [] if made is None else [made], True)
            self.grads[id(parameter)] = made

    def _sparse_gradient(self, name: str, grad: torch.Tensor) -> Optional[EventRef]:
        """Of an embedding, for example: which rows there are, and then their values, whose event
        names that of the rows."""
        made: List[EventRef] = []
        for slot, part in (("grad.indices", grad._indices()), ("grad", grad._values())):
            if obstacle(part) is not None:
                return None
            if self.ops:
                maker = self.core.find(part)
                ref = self.core.record(part, lib.KINDS["tensor"], "backward", name, "grad", slot,
                                       made if maker is None else [maker, *made], True)
            else:
                ref = self.recorder.ref(self.recorder.site(
                    "tensor", "backward", name, "grad", slot, dtype=DTYPES[part.dtype],
                    shape=tuple(part.shape)))
            made = [ref]
        return made[0]

    def updated(self, optimizer: torch.optim.Optimizer) -> None:
        """The first optimizer's step ends a step of the run. One that was made since then takes its
        place: a run that was resumed within the program has new ones."""
        if self.lead is None or self.born[self.meet_optimizer(optimizer)] >= self.update_count > 0:
            self.lead = optimizer
        if self.lead is not optimizer:
            return
        self.update_count += 1
        if self.by_hand:
            return
        if self.recorder.current_step == 0:
            self.recorder.step()
        if self.in_backward:  # others may step within the same pass
            self.step_due = True
        else:
            self.end_of_step()

    def end_of_step(self) -> None:
        """The update is complete."""
        self.step_due, self.updating_by_hand = False, ""
        self.next_step()
        self.phase = "forward"

    def event_of_mode(self, path: str, op: str, phase: str = "backward") -> None:
        if self.wants("data"):
            self.recorder.mode(path, True, slot=op, op=op, phase=phase, source=self.calls)

    def checkpoint(self, what: Any, op: str, file: Optional[str] = None) -> None:
        """State is read or written: a note."""
        if isinstance(what, torch.nn.Module):
            what = self.modules.path_of(what) or type(what).__name__
        elif isinstance(what, torch.optim.Optimizer):
            what = f"optimizer{self.meet_optimizer(what)}"
        self.recorder.checkpoint(what, op, file=file, source=self.calls)

    # --- Data -------------------------------------------------------------------------------------

    def begin_epoch(self, loader: Any) -> int:
        """How many times this loader was gone through before. One that is made anew begins at 0,
        wherever in memory it lies."""
        epoch = self.epochs[loader] = self.epochs.get(loader, -1) + 1
        return epoch

    def sample(self, loader: Any, iterator: Any, epoch: int, indices: Any, batch: Any) -> None:
        if not self.wants("data"):
            return
        hashed = []
        for tensor in tensors_in(batch):
            if obstacle(tensor) is not None:
                continue
            dense = readable(tensor)
            hashed.append((str(tensor.dtype), tuple(tensor.shape), dense))
        listed = [indices] if isinstance(indices, int) else indices
        known = isinstance(listed, (list, tuple)) and all(isinstance(i, int) for i in listed)
        dataset, listed = base_of(loader.dataset, listed if known else None)
        self.workers.arrived(iterator, type(dataset).__name__)
        ref = self.recorder.sample(
            type(dataset).__name__, listed or None,
            count=len(indices) if isinstance(indices, (list, tuple)) else 0, epoch=epoch,
            role=self.roles.get(loader, "unknown"), contents=digest(hashed),
            arguments=loader_arguments(loader))
        for tensor in tensors_in(batch):
            if obstacle(tensor) is None and ref is not None:
                self.core.put(tensor, ref, "")

    # --- The end ----------------------------------------------------------------------------------

    def close(self) -> Optional[str]:
        def finish() -> None:
            # A process that trains nothing, a launcher, draws from no generator unseen.
            if self.updating_by_hand:
                self._end_step()
            elif self.optimizers or self.recorder.current_step > 0:
                self.draws.end_step(changed=True)
            if self.recorder.current_step > 0:
                self._note_learned("end")
            if any(thread.ident != self.thread for thread in self.threads):
                self.unseen.add("what threads that the program starts compute")
            if self.unseen:
                self.recorder.mark(f"not recorded: {', '.join(sorted(self.unseen))}")
            if self.left_out:
                listed = ", ".join(f"{n} of {what}" for what, n in sorted(self.left_out.items()))
                self.recorder.mark(f"contents not recorded: {listed}")

        self.guarded(finish)
        self.active = self.ops = False
        self._leave()
        self.workers.close()
        if threading.get_ident() == self.thread or not self.moved:
            self.core.clear()  # else that thread may be in it just now
        return self.recorder.close()
