# SPDX-License-Identifier: Apache-2.0
"""firstbit: finds the first bit where two machine-learning runs part ways, and says why.

`Recorder` writes a trace from any Python program, `open` reads one, `firstbit.torch.record` records
a PyTorch program. None of them needs a framework to be installed.
"""

from ._library import TraceError
from .reader import Trace, open
from .recorder import EventRef, Recorder

__all__ = ["EventRef", "Recorder", "Trace", "TraceError", "open"]
__version__ = "0.1.0"
