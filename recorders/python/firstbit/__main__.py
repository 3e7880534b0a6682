# SPDX-License-Identifier: Apache-2.0
"""The firstbit program that came with this package: becomes it."""

import os
import sys


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    program = os.environ.get("FIRSTBIT_PROGRAM", os.path.join(here, "_native", "firstbit"))
    # `firstbit record` finds the package that it belongs to.
    os.environ.setdefault("FIRSTBIT_PYTHON", os.path.dirname(here))
    try:
        os.execv(program, [program, *sys.argv[1:]])
    except OSError as failure:
        print(f"firstbit: {program}: {failure.strerror}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
