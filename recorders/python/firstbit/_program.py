# SPDX-License-Identifier: Apache-2.0
"""Where the firstbit program is: the one that came with this package, else one that is installed."""

import glob
import os
import shutil
from typing import Iterator

_HERE = os.path.dirname(os.path.abspath(__file__))


def candidates() -> Iterator[str]:
    """Best first: named by FIRSTBIT_PROGRAM, in the wheel, in a build folder of the source tree,
    beside the installed package's share folder, on the path."""
    named = os.environ.get("FIRSTBIT_PROGRAM")
    if named:
        yield named
        return
    yield os.path.join(_HERE, "_native", "firstbit")
    root = os.path.normpath(os.path.join(_HERE, "..", "..", ".."))
    built = glob.glob(os.path.join(root, "build", "*", "cli", "firstbit"))
    yield from sorted(built, key=os.path.getmtime, reverse=True)
    yield os.path.normpath(os.path.join(_HERE, "..", "..", "..", "..", "bin", "firstbit"))
    found = shutil.which("firstbit")
    if found:
        yield found


def find() -> str:
    """The program's path. FileNotFoundError where there is none."""
    for path in candidates():
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise FileNotFoundError("firstbit: the program is not to be found; build it, or set "
                            "FIRSTBIT_PROGRAM to its file")
