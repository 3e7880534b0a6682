# SPDX-License-Identifier: Apache-2.0
"""The firstbit program that came with this package: becomes it."""

import os
import sys

from . import _program


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    # `firstbit record` finds the package that it belongs to.
    os.environ.setdefault("FIRSTBIT_PYTHON", os.path.dirname(here))
    program = "the program"
    try:
        program = _program.find()
        os.execv(program, [program, *sys.argv[1:]])
    except OSError as failure:
        print(f"firstbit: {program}: {failure.strerror or failure}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
