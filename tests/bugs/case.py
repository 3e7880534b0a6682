# SPDX-License-Identifier: Apache-2.0
"""What a case of the suite is: a program, a small change to it, and what a diff of the recordings of
both must say."""

import fnmatch
import os
from dataclasses import dataclass
from typing import Any, Dict, Tuple, Union

#: The first batch, fetched before the model is called: whether training has begun by then is a
#: matter of what the recorder knows of the model.
FIRST_BATCH = (0, 1)

PROGRAMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")


@dataclass(frozen=True)
class Event:
    """The event in which two runs part, as the mechanism has it: `None` and "*" are anything, other
    texts are patterns of the shell. Paths begin with the class of the module. Of a tuple of steps
    each fits."""

    step: Union[int, Tuple[int, ...], None]
    phase: str = "*"
    path: str = "*"
    op: str = "*"
    slot: str = "*"
    kind: str = "*"

    def fits(self, first: Dict[str, Any]) -> bool:
        steps = self.step if isinstance(self.step, tuple) else (self.step,)
        if self.step is not None and first.get("step") not in steps:
            return False
        return all(_any(pattern, first.get(name)) for name, pattern in (
            ("phase", self.phase), ("path", self.path), ("op", self.op), ("slot", self.slot),
            ("kind", self.kind)))


def _any(patterns: str, value: Any) -> bool:
    """Patterns are separated by bars."""
    text = value or ""
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns.split("|"))


@dataclass(frozen=True)
class Bug:
    """One mechanism.

    reference: the public report whose mechanism is re-created, or "" for one of our own
    program, both: the correct program, and a change of it that both twins share. Of "engine FILE"
        change and both are arguments of `firstbit train`
    change: makes the buggy twin of it. Lines with "-" are replaced by those with "+"; "@@" begins
        another place. Each must fit in exactly one place
    events: where the runs part, by the mechanism; several where one cause has several first traces
    cause: by its name in docs/diff.md
    """

    id: str
    reference: str
    mechanism: str
    program: str
    change: str
    events: Tuple[Event, ...]
    cause: str
    both: str = ""
    options: Tuple[str, ...] = ()  # of diff
    environment: Tuple[Tuple[str, str], Tuple[str, str]] = (("", ""), ("", ""))  # of either run
    arguments: Tuple[Tuple[str, ...], Tuple[str, ...]] = ((), ())  # of either run
    quick: bool = False
    unseen: bool = False  # not shown to who writes the rules


@dataclass(frozen=True)
class Clean:
    """A legal neighbour of a bug: its diff must say `verdict`. Of two runs that differ by rounding
    only, the cause must be `cause`."""

    id: str
    neighbour: str  # the bug, or the cause, that it looks like
    what: str
    program: str
    change: str
    both: str = ""
    verdict: str = "same"
    cause: str = ""
    options: Tuple[str, ...] = ()
    environment: Tuple[Tuple[str, str], Tuple[str, str]] = (("", ""), ("", ""))
    arguments: Tuple[Tuple[str, ...], Tuple[str, ...]] = ((), ())
    quick: bool = False


class NoPlace(Exception):
    """A change does not fit a program in exactly one place."""


def source_of(program: str) -> str:
    with open(os.path.join(PROGRAMS, program + ".py"), encoding="utf-8") as file:
        return file.read()


def changed(source: str, change: str) -> str:
    """Applies a change to a program's text."""
    for place in change.strip("\n").split("\n@@\n") if change.strip() else []:
        old, new = [], []
        for line in place.split("\n"):
            if line[:1] in ("-", " ") or not line:
                old.append(line[1:])
            if line[:1] in ("+", " ") or not line:
                new.append(line[1:])
        source = _replaced(source, "\n".join(old) + "\n", "\n".join(new) + ("\n" if new else ""))
    return source


def _replaced(source: str, old: str, new: str) -> str:
    whole, old = "\n" + source, "\n" + old
    at = whole.find(old)
    if at < 0 or whole.find(old, at + 1) >= 0:
        raise NoPlace(f"{'no place fits' if at < 0 else 'two places fit'}, one must:{old}")
    return (whole[:at] + "\n" + new + whole[at + len(old):])[1:]
