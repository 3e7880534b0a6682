# SPDX-License-Identifier: Apache-2.0
"""Prints the results of the suite."""

MARKS = {True: "yes", False: "-", None: "?"}
CHECKS = ("tight", "loose", "loss_1", "loss_5")


def share(rows, key):
    return f"{sum(bool(row[key]) for row in rows)} of {len(rows)}"


def totals(bugs, cleans):
    def of(rows):
        return {key: share(rows, key)
                for key in ("detected", "exact", "first_guess", "top_three", "confirmed")}

    measured = [bug for bug in bugs if bug["tolerances"]["tight"] is not None]
    quiet = [clean for clean in cleans if clean["tolerances"]["tight"] is not None]
    return {"all": of(bugs), "shown": of([b for b in bugs if not b["unseen"]]),
            "unseen": of([b for b in bugs if b["unseen"]]),
            "clean": share(cleans, "as_expected"),
            "alarms": {check: share([b["tolerances"] for b in measured], check)
                       for check in CHECKS},
            "false_alarms": {check: share([c["tolerances"] for c in quiet], check)
                             for check in CHECKS}}


def print_tables(bugs, cleans):
    print("bug | exact event | cause | top three | confirmed | said | allclose 1e-5 | 1e-3 | "
          "loss 1 % | 5 %")
    for bug in bugs:
        answer = bug["answer"]
        print(" | ".join([
            bug["id"] + (" (unseen)" if bug["unseen"] else ""),
            MARKS[bug["exact"]], MARKS[bug["first_guess"]], MARKS[bug["top_three"]],
            MARKS[bug["confirmed"]], f"{answer['cause']} at {answer['event']}"
            if bug["detected"] else f"{answer['verdict']}: {answer['why']}",
            *[MARKS[bug["tolerances"][check]] for check in CHECKS]]))
        if not bug["first_guess"]:
            print(f"    expected {bug['expected_cause']}")
    print()
    for clean in cleans:
        answer = clean["answer"]
        if clean["expected_verdict"] == "same" and clean["equal_bits"] is False:
            print(f"    {clean['id']}: the two programs do not end with the same bits")
        print(" | ".join([
            clean["id"], clean["neighbour"], "as expected" if clean["as_expected"] else
            f"EXPECTED {clean['expected_verdict']} {clean['expected_cause']}",
            f"{answer['verdict']} {answer['cause'] or ''} {answer['event'] or answer['why'] or ''}",
            *[MARKS[clean["tolerances"][check]] for check in CHECKS]]))
    print()
    summary = totals(bugs, cleans)
    for name in ("all", "shown", "unseen"):
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in summary[name].items()))
    print(f"clean pairs as expected: {summary['clean']}")
    print("alarms of tolerances on bugs: " + ", ".join(
        f"{key} {value}" for key, value in summary["alarms"].items()))
    print("alarms of tolerances on clean pairs: " + ", ".join(
        f"{key} {value}" for key, value in summary["false_alarms"].items()))
