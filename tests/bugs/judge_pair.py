# SPDX-License-Identifier: Apache-2.0
"""Diffs the two recordings of a case and holds the answer against what was planted; beside it, what
tolerances on final parameters and losses say of the same two runs."""

import json
import subprocess

import torch

from record_programs import ROOT  # where replays of the engine find their data

TOLERANCES = {"tight": (1e-5, 1e-8), "loose": (1e-3, 1e-5)}
LOSS_CHANGES = {"loss_1": 0.01, "loss_5": 0.05}


def diff(recordings, case):
    a, b = recordings.pair(case)
    for run in (a, b):
        if run.failure is not None:
            return {"verdict": "not recorded", "why": run.failure}
    done = subprocess.run([recordings.firstbit, "diff", "--json", *case.options, a.trace, b.trace],
                          cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return {"verdict": "failed", "why": done.stderr.strip()}


def candidates(cause):
    """The names that the diff gives, best first, without repeats."""
    names = [cause.get("name")] + [c.get("name") for c in cause.get("candidates") or []]
    return list(dict.fromkeys(name for name in names if name))


def said(report):
    first = report.get("first") or {}
    cause = report.get("cause") or {}
    event = " ".join(str(part) for part in (
        first.get("step"), first.get("phase"), first.get("path"), first.get("op"),
        first.get("slot")) if part not in (None, "")) if first else None
    return {"verdict": report.get("verdict"), "why": report.get("why"), "event": event,
            "cause": cause.get("name"), "confidence": cause.get("confidence"),
            "text": cause.get("text"), "fix": cause.get("fix"), "candidates": candidates(cause)}


def judge_bug(recordings, bug):
    report = diff(recordings, bug)
    first = report.get("first") or {}
    detected = report.get("verdict") == "differ"
    answer = said(report)
    return {"id": bug.id, "reference": bug.reference, "mechanism": bug.mechanism,
            "expected_cause": bug.cause, "unseen": bug.unseen, "detected": detected,
            "exact": detected and any(event.fits(first) for event in bug.events),
            "first_guess": detected and answer["cause"] == bug.cause and bool(answer["fix"]),
            "top_three": detected and bug.cause in answer["candidates"][:3],
            "confirmed": answer["confidence"] == "confirmed", "answer": answer,
            "tolerances": tolerances(*recordings.pair(bug))}


def judge_clean(recordings, clean):
    """A pair that is to be the same must also end with the same bits: else the case is wrong."""
    answer = said(diff(recordings, clean))
    return {"id": clean.id, "neighbour": clean.neighbour, "what": clean.what,
            "expected_verdict": clean.verdict, "expected_cause": clean.cause,
            "as_expected": answer["verdict"] == clean.verdict and (
                not clean.cause or answer["cause"] == clean.cause),
            "answer": answer, "equal_bits": equal_bits(*recordings.pair(clean)),
            "tolerances": tolerances(*recordings.pair(clean))}


# --- Tolerances -----------------------------------------------------------------------------------

def tolerances(a, b):
    """Which of the usual checks would raise an alarm; None where there is nothing to compare."""
    try:
        x, y = torch.load(a.result), torch.load(b.result)
    except (OSError, RuntimeError, EOFError):
        return {name: None for name in (*TOLERANCES, *LOSS_CHANGES)}
    alarms = {name: not _close(x["model"], y["model"], *limits)
              for name, limits in TOLERANCES.items()}
    last = x["losses"][-1], y["losses"][-1]
    alarms.update({name: not abs(last[0] - last[1]) <= limit * abs(last[0])
                   for name, limit in LOSS_CHANGES.items()})
    return alarms


def equal_bits(a, b):
    """Whether two runs end with the same parameters and had the same losses; None where unknown."""
    try:
        x, y = torch.load(a.result), torch.load(b.result)
    except (OSError, RuntimeError, EOFError):
        return None
    return (x["losses"] == y["losses"] and
            len(x["model"]) == len(y["model"]) and
            all(torch.equal(p, q) for p, q in zip(x["model"].values(), y["model"].values())))


def _close(x, y, relative, absolute):
    if list(x) != list(y) or any(x[name].shape != y[name].shape for name in x):
        return False
    return all(torch.allclose(x[name].double(), y[name].double(), relative, absolute) for name in x)
