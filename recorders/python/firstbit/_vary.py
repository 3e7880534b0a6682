# SPDX-License-Identifier: Apache-2.0
"""What `firstbit check --vary` sets inside a PyTorch program, where the environment alone cannot.

Called by the start-up hook once torch is imported, before the recording begins.
"""

import functools
from typing import Any, Dict


def apply(settings: Dict[str, str]) -> None:
    threads, workers = settings.get("FIRSTBIT_VARY_THREADS"), settings.get("FIRSTBIT_VARY_WORKERS")
    if threads:
        _hold_threads(int(threads))
    if workers is not None:
        _set_workers(int(workers))


def _hold_threads(threads: int) -> None:
    """The number that is being varied wins over the program's own."""
    import torch

    torch.set_num_threads(threads)

    def set_num_threads(threads: int) -> None:  # noqa: ARG001
        return None

    torch.set_num_threads = set_num_threads


def _set_workers(workers: int) -> None:
    """Every DataLoader gets this many worker processes."""
    from torch.utils.data import DataLoader

    original = DataLoader.__init__

    @functools.wraps(original)
    def init(self: Any, dataset: Any, batch_size: Any = 1, shuffle: Any = None, sampler: Any = None,
             batch_sampler: Any = None, num_workers: int = 0, *rest: Any, **named: Any) -> None:
        if workers == 0:  # what only makes sense with workers
            for name in ("prefetch_factor", "persistent_workers", "multiprocessing_context",
                         "timeout"):
                named.pop(name, None)
        original(self, dataset, batch_size, shuffle, sampler, batch_sampler, workers, *rest,
                 **named)

    DataLoader.__init__ = init
