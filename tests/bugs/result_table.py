# SPDX-License-Identifier: Apache-2.0
"""Prints the results of the suite."""

MARKS = {True: "yes", False: "-", None: "?"}
CHECKS = ("tight", "loose", "loss_1", "loss_5")
CHECK_NAMES = ("final parameters, `allclose` with rtol 1e-5, atol 1e-8", "with rtol 1e-3, atol 1e-5",
               "final loss, 1 %", "final loss, 5 %")


def share(rows, key):
    return f"{sum(bool(row[key]) for row in rows)} of {len(rows)}"


def is_same(clean):
    """Whether a pair ends with equal bits, and is no legal rewrite."""
    return clean["expected_verdict"] == "same"


def totals(bugs, cleans):
    def of(rows):
        return {key: share(rows, key)
                for key in ("detected", "exact", "first_guess", "top_three", "confirmed")}

    measured = [bug for bug in bugs if bug["tolerances"]["tight"] is not None]
    quiet = [clean for clean in cleans if clean["tolerances"]["tight"] is not None]
    return {"all": of(bugs), "shown": of([b for b in bugs if not b["unseen"]]),
            "unseen": of([b for b in bugs if b["unseen"]]),
            "clean": share([c for c in cleans if is_same(c)], "as_expected"),
            "rewrites": share([c for c in cleans if not is_same(c)], "as_expected"),
            "alarms": {check: share([b["tolerances"] for b in measured], check)
                       for check in CHECKS},
            "false_alarms": {check: share([c["tolerances"] for c in quiet], check)
                             for check in CHECKS}}


def print_totals(bugs, cleans):
    """Two tables for docs/bugs.md: of the diff, and of tolerances beside it."""
    summary = totals(bugs, cleans)
    names = {"all": "all", "shown": "shown to those who wrote the rules", "unseen": "kept from them"}
    print("| bugs | detected | exact event | cause, first guess | in the first three | confirmed |")
    print("|---|---|---|---|---|---|")
    for key, name in names.items():
        print(f"| {name} | " + " | ".join(summary[key].values()) + " |")
    print()
    print(f"Clean pairs that `diff` calls the same: {summary['clean']}. Legal rewrites answered as they "
          f"should be: {summary['rewrites']}.")
    print()
    print("| on the same pairs | bugs: alarm | clean pairs and legal rewrites: alarm |")
    print("|---|---|---|")
    for check, name in zip(CHECKS, CHECK_NAMES):
        print(f"| {name} | {summary['alarms'][check]} | {summary['false_alarms'][check]} |")
    print()


def print_markdown(bugs, cleans):
    print_totals(bugs, cleans)
    print("| bug | mechanism | like | exact event | cause | said | loss 1 % |")
    print("|---|---|---|---|---|---|---|")
    for bug in bugs:
        answer = bug["answer"]
        said = f"`{answer['cause']}` at {answer['event']}" if bug["detected"] else (
            f"{answer['verdict']}")
        named = "yes" if bug["first_guess"] else (
            f"{'second' if bug['top_three'] else 'no'}: `{bug['expected_cause']}`")
        print(f"| {bug['id']}{' °' if bug['unseen'] else ''} | {bug['mechanism']} | "
              f"{bug['reference'] or 'our own'} | {MARKS[bug['exact']]} | {named} | {said} | "
              f"{MARKS[bug['tolerances']['loss_1']]} |")
    print()
    print("| clean pair | beside | what changes | said | as expected |")
    print("|---|---|---|---|---|")
    for clean in cleans:
        answer = clean["answer"]
        said = answer["verdict"] + (f", `{answer['cause']}`" if answer["cause"] else "")
        print(f"| {clean['id']} | {clean['neighbour']} | {clean['what']} | {said} | "
              f"{MARKS[clean['as_expected']]} |")


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
    print(f"clean pairs as expected: {summary['clean']}, rewrites: {summary['rewrites']}")
    print("alarms of tolerances on bugs: " + ", ".join(
        f"{key} {value}" for key, value in summary["alarms"].items()))
    print("alarms of tolerances on clean pairs: " + ", ".join(
        f"{key} {value}" for key, value in summary["false_alarms"].items()))
