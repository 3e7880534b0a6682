# SPDX-License-Identifier: Apache-2.0
"""What optimizers, schedules and gradient scalers do, recorded around each update."""

import weakref
from typing import TYPE_CHECKING, Any, Dict, List

import torch

from ..recorder import EventRef
from .contents import obstacle, readable

if TYPE_CHECKING:
    from .session import Session

# Switches of an optimizer that choose how it computes, not what.
_IMPLEMENTATIONS = {"foreach", "fused", "capturable", "differentiable"}


class Updates:
    """Of one session."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.recorder = session.recorder
        self.schedulers: "List[weakref.ref[Any]]" = []
        self.stepped: Dict[int, int] = {}  # by optimizer: the last step in which it made its own
        self.held: "set[int]" = set()  # optimizers whose parameters were told
        self.written: Dict[int, EventRef] = {}  # by parameter: what of this step wrote to it before

    def hold(self, number: int, optimizer: torch.optim.Optimizer) -> None:
        """Which parameters it holds."""
        self.held.add(number)
        for name, parameter in self.session.parameters_of(optimizer):
            self.recorder.mode(name, True, op=type(optimizer).__name__.lower(), phase="init",
                               slot=f"held by optimizer{number}")

    def before(self, optimizer: torch.optim.Optimizer) -> None:
        """Gradients as the optimizer finds them: summed, scaled, clipped. A step that records
        parameters without ops names them all the same, so that levels agree."""
        number = self.session.meet_optimizer(optimizer)
        if number not in self.held and self.session.wants("data"):
            self.hold(number, optimizer)
        if not self.session.wants("state"):
            return
        parameters = self.session.parameters_of(optimizer)
        self.written = {}
        for _, parameter in parameters if self.session.ops else ():
            made = self.session.core.find(parameter)
            if made is not None and self.recorder.is_of_this_step(made):
                self.written[id(parameter)] = made
        self.session.record_gradients(parameters)

    def after(self, optimizer: torch.optim.Optimizer) -> None:
        """Learning rates and the like; parameters and states where this step records them."""
        number = self.session.meet_optimizer(optimizer)
        self.stepped[number] = self.recorder.current_step
        op = type(optimizer).__name__.lower()
        for g, group in enumerate(optimizer.param_groups):
            for key in sorted(group):
                self._record_setting(f"optimizer{number}.group{g}", key, group[key])
        if not self.session.wants("state"):
            return
        for name, parameter in self.session.parameters_of(optimizer):
            made = (self.session.grads.get(id(parameter)), self.written.get(id(parameter)))
            inputs = [ref for ref in made if ref is not None]
            self.session.record_state(parameter, "optimizer", name, op, "param", inputs)
            state = optimizer.state.get(parameter, {})
            for key in sorted(state, key=str):
                self.session.record_state(state[key], "optimizer", name, op, str(key), inputs)

    def _record_setting(self, path: str, key: str, value: Any) -> None:
        if isinstance(value, torch.Tensor) and value.numel() == 1 and obstacle(value) is None:
            value = readable(value.detach()).item()
        if isinstance(value, bool) and (not value or key in _IMPLEMENTATIONS):
            return  # a switch that is off says as much as one that another version has not
        if isinstance(value, (int, float)):
            self.recorder.scalar(path, float(value), slot=key, phase="optimizer")
        elif isinstance(value, (tuple, list)) and key != "params":
            for i, item in enumerate(value):
                self._record_setting(path, f"{key}{i}", item)

    def clipped(self, norm: Any, limits: Dict[str, Any]) -> None:
        """The norm of all gradients, as clipping found it, and what it was called with."""
        for name, value in limits.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                self.recorder.scalar("clip", float(value), slot=name, phase="optimizer")
        if isinstance(norm, torch.Tensor) and norm.numel() == 1 and obstacle(norm) is None:
            self.recorder.scalar("clip", readable(norm.detach()).item(), slot="grad_norm",
                                 phase="optimizer",
                                 dtype="f32" if norm.dtype == torch.float32 else "f64")

    def scheduled(self, scheduler: Any) -> None:
        """A learning rate schedule goes on; what it does shows at the next update."""
        number = next((i for i, known in enumerate(self.schedulers) if known() is scheduler), None)
        if number is None:
            number = len(self.schedulers)
            self.schedulers.append(weakref.ref(scheduler))
        if self.session.wants("data"):
            self.recorder.mode(f"scheduler{number}", True, slot="step", phase="schedule",
                               op=type(scheduler).__name__.lower(), source=self.session.calls)

    def loss_scale(self, scaler: Any) -> None:
        """The factor of a gradient scaler, after it was brought up to date."""
        self.recorder.scalar("scaler", float(scaler.get_scale()), slot="scale", phase="optimizer")
