# SPDX-License-Identifier: Apache-2.0
"""What the program's models give where they do not learn: an evaluation shows in steps that record
no operation too."""

from typing import TYPE_CHECKING, Any, Set, Tuple

import torch

from .. import _library as lib
from .contents import DTYPES, obstacle, readable, storage_of, tensors_in

if TYPE_CHECKING:
    from .session import Session

_CALLS_MAX = 64  # of a step: a policy that acts, a model that writes, is called for each word
_TENSORS_MAX = 8  # of a call


class Results:
    """Of one session."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.calls = 0  # in this step
        self.undefined: Set[Tuple[str, int]] = set()  # modules, and which of their results

    def of(self, module: torch.nn.Module, out: Any) -> None:
        """The program has called this module, and got `out`: where it is in evaluation mode, or no
        gradients are computed, each tensor is a note, in a step without operations. In others the
        operations tell, and whether the contents mean anything."""
        session = self.session
        if (module.training and torch.is_grad_enabled()) or self.calls >= _CALLS_MAX:
            return
        if session.ops:
            session.guarded(self._look, out)
        if session.ops or session.recorder.current_step == 0:
            return
        if session.in_backward or session.in_step or not session.wants("data"):
            return
        self.calls += 1
        session.guarded(self._record, out)

    def _look(self, out: Any) -> None:
        for i, tensor in enumerate(tensors_in(out)[:_TENSORS_MAX]):
            if self._is_undefined(tensor):
                self.undefined.add((self.session.modules.path, i))

    def _is_undefined(self, tensor: torch.Tensor) -> bool:
        """Whether it is memory that nothing was written to, as far as recorded operations tell."""
        if tensor.numel() == 0 or obstacle(tensor) is not None or tensor.is_inference():
            return False  # the last: what is written to it since then is not counted
        storage = self.session.core.undefined(tensor)
        return storage != 0 and storage_of(tensor)._cdata == storage

    def _record(self, out: Any) -> None:
        session = self.session
        recorder, path = session.recorder, session.modules.path
        for i, tensor in enumerate(tensors_in(out)[:_TENSORS_MAX]):
            if tensor.numel() == 0 or obstacle(tensor) is not None:
                continue
            number = recorder.site("tensor", "eval", path, "result", "out" if i == 0 else f"out{i}",
                                   dtype=DTYPES[tensor.dtype], shape=tuple(tensor.shape), note=True,
                                   source=session.calls)
            if (path, i) in self.undefined or self._is_undefined(tensor):
                recorder.event(number, flags=lib.UNDEFINED)
                continue
            dense = readable(tensor)
            recorder.event(number, address=dense.data_ptr(),
                           count_bytes=dense.numel() * dense.element_size())

    def end_step(self) -> None:
        self.calls = 0
