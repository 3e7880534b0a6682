#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill_train.py - real SIGKILLs of `firstbit train` at random moments, at every level; and the
final hash at every level.

usage: kill_train.py FIRSTBIT [KILLS]

After each kill: verify says torn; recover succeeds and its output is whole; show, replay and diff
take the torn trace and the recovered one, say that it is torn, and find nothing wrong in it.
"""
import json
import os
import random
import subprocess
import sys
import time

from fault_case import LEVELS, Folder, expect, final_hash, main, run

FIRSTBIT = os.path.abspath(sys.argv[1])
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
STEPS = 2000


def levels_of(folder):
    """The levels that this program records."""
    known = []
    for level in LEVELS:
        done = run([FIRSTBIT, "train", "run.json", "-o", "probe.fbt", "--level", level],
                   folder.path)
        if done.status == 0:
            known.append(level)
        else:
            expect(b"this version records" in done.err, level, done)
    os.unlink(folder / "probe.fbt")
    return known


def kill_one(folder, level, life):
    """Kills a run `life` seconds after its trace is there. False where it had ended before."""
    process = subprocess.Popen(
        [FIRSTBIT, "train", "run.json", "-o", "t.fbt", "--steps", str(STEPS), "--level", level,
         "--threads", "1"],
        cwd=folder.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(folder / "t.fbt") and process.poll() is None:
        time.sleep(0.0005)
    time.sleep(life)
    process.kill()
    return process.wait() < 0


def check_torn(folder, reference):
    """Returns how many events the torn trace has."""
    verified = run([FIRSTBIT, "verify", "t.fbt", "--json"], folder.path)
    found = json.loads(verified.out)
    expect(verified.status == 1 and found["status"] == "torn", "verify:", verified)
    recovered = run([FIRSTBIT, "recover", "t.fbt", "-o", "whole.fbt", "--json"], folder.path)
    expect(recovered.status == 0, "recover:", recovered)
    expect(json.loads(recovered.out)["events"] == found["events"], "recover:", recovered)
    whole = run([FIRSTBIT, "verify", "whole.fbt", "--json"], folder.path)
    expect(whole.status == 0 and json.loads(whole.out)["events"] == found["events"], whole)
    shown = run([FIRSTBIT, "show", "t.fbt", "--json"], folder.path)
    expect(shown.status == 0 and b"torn" in shown.err, "show:", shown.status, shown.err)
    expect(shown.out.count(b"\n") == found["events"], "show:", shown.out.count(b"\n"), "events")
    for trace in ("t.fbt", "whole.fbt"):
        if found["steps"] == 0:
            break
        diffed = run([FIRSTBIT, "diff", reference, trace, "--prefix"], folder.path)
        expect(diffed.status == 0 and diffed.out.startswith(b"SAME"), "diff:", diffed, diffed.out)
        expect(trace == "whole.fbt" or b"torn" in diffed.out, "diff does not say torn")
    return found["events"]


def check_replay(folder, events):
    for trace in ("t.fbt", "whole.fbt"):
        replayed = run([FIRSTBIT, "replay", trace], folder.path)
        if events == 0:
            expect(replayed.status == 2 and b"nothing to verify" in replayed.err, replayed)
            continue
        expect(replayed.status == 0 and b"VERIFIED" in replayed.out, "replay:", replayed)
        expect(trace == "whole.fbt" or b"torn" in replayed.out, "replay does not say torn")


def a_killed_run_leaves_what_it_recorded():
    rng = random.Random(os.environ.get("FIRSTBIT_FAULT_SEED", "1"))
    kills = events = 0
    with Folder() as folder:
        levels = levels_of(folder)
        while kills < KILLS:
            level = levels[kills % len(levels)]
            if not os.path.exists(folder / (level + ".fbt")):
                run([FIRSTBIT, "train", "run.json", "-o", level + ".fbt", "--steps", str(STEPS),
                     "--level", level], folder.path)
            # Most die in the middle of a chunk, some while the first rows are staged.
            life = rng.random() ** 2 * 0.25
            if not kill_one(folder, level, life):
                continue
            try:
                found = check_torn(folder, level + ".fbt")
                events += found
                if kills % 10 == 9:
                    check_replay(folder, found)
            except Exception:
                print(f"level {level}, {life:.4f} s after the trace appeared", flush=True)
                raise
            for name in ("t.fbt", "t.fbt-tail", "whole.fbt"):
                if os.path.exists(folder / name):
                    os.unlink(folder / name)
            kills += 1
    return f"{kills} kills at levels {', '.join(levels)}; {events} events, none wrong or lost"


def recording_changes_no_bit():
    with Folder() as folder:
        root = os.path.join(os.path.dirname(__file__), "..", "..")
        config = os.path.join(root, "tests", "identity", "gpt.json")
        data = os.path.join(root, "examples", "data", "lighthouse.txt")
        train = [FIRSTBIT, "train", config, "--data", data, "--steps", "12", "--json"]
        want = final_hash(run(train + ["--no-trace"], folder.path))
        expect(want is not None, "no final hash")
        levels = levels_of(folder)
        for level in levels:
            for more in ([], ["--threads", "1"]):
                got = final_hash(run(train + ["-o", "t.fbt", "--level", level] + more, folder.path))
                expect(got == want, level, more, got, "instead of", want)
    return f"{want.decode()} without a trace and at levels {', '.join(levels)}"


if __name__ == "__main__":
    main([recording_changes_no_bit, a_killed_run_leaves_what_it_recorded])
