#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""fail_calls.py - the k-th system call or allocation fails, for every k.

usage: fail_calls.py FIRSTBIT RECORD_PROGRAM FAIL_KTH.so [SAMPLES]

While recording: the program ends normally with the same result, and the trace is sound or absent.
While reading: one line and exit status 2, or the same output; no half-written file.
SAMPLES: how many of the allocations of a command fail, and four times as many of its calls for files
(default: each of them, which takes an hour).
"""
import errno
import os
import sys

from fault_case import Folder, events_of, expect, final_hash, main, run

FIRSTBIT, RECORD, SHIM = (os.path.abspath(p) for p in sys.argv[1:4])
SAMPLES = int(sys.argv[4]) if len(sys.argv) > 4 else 0


def failing(kind, k, later=False, number=errno.ENOSPC, armed=False):
    env = {"LD_PRELOAD": SHIM, "FAIL_KIND": kind, "FAIL_K": str(k), "FAIL_LATER": str(int(later)),
           "FAIL_ERRNO": str(number), "FAIL_COUNT": "count"}
    return {**env, "FAIL_ARMED": "create"} if armed else env


OUTPUTS = ("out.fbt", "out.jsonl")


def remove_outputs(folder):
    for name in OUTPUTS:
        if os.path.exists(folder / name):
            os.unlink(folder / name)


def count_calls(command, folder, kind, armed=False):
    run(command, folder.path, failing(kind, 0, armed=armed))
    remove_outputs(folder)
    with open(folder / "count") as f:
        return int(f.read())


def every_failure(command, folder, kind, armed=False):
    """Yields (k, result) for the k-th call alone, and for it and all later ones."""
    calls = count_calls(command, folder, kind, armed)
    expect(calls > 0, command, "makes no call of kind", kind)
    errors = (errno.ENOSPC, errno.EIO) if kind == "file" else (errno.ENOMEM,)
    wanted = SAMPLES if kind == "memory" else 4 * SAMPLES
    stride = max(1, calls // wanted) if SAMPLES else 1
    for number in errors:
        for later in (False, True):
            for k in range(1 + 7 * later % stride, calls + 1, stride):
                yield (f"{kind} call {k} of {calls}{' and later' if later else ''}",
                       run(command, folder.path, failing(kind, k, later, number, armed)))


def check_trace(folder, name, place, whole):
    """Sound or absent, with a prefix of the events; nothing else is left but a tail."""
    left = [f for f in folder.files() if f not in ("run.json", "input.txt", "count", name, "run.ckpt",
                                                   name + "-tail")]
    expect(left == [], place, "leaves", left)
    if not os.path.exists(folder / name):
        return
    events, status = events_of(FIRSTBIT, name, folder.path)
    expect(status != "corrupt" and events <= whole, place, "leaves a trace that is", status, events)
    os.unlink(folder / name)
    if os.path.exists(folder / (name + "-tail")):
        os.unlink(folder / (name + "-tail"))


def a_program_that_records_computes_the_same():
    cases = 0
    with Folder() as folder:
        command = [RECORD, "t.fbt", "1200"]
        want = run(command, folder.path).out
        whole = events_of(FIRSTBIT, "t.fbt", folder.path)[0]
        os.unlink(folder / "t.fbt")
        for kind in ("file", "thread", "memory"):
            for place, result in every_failure(command, folder, kind):
                expect(result.status == 0 and result.out == want, place, result)
                expect(len(result.lines()) <= 1, place, "says more than a line", result)
                if not os.path.exists(folder / "t.fbt"):
                    expect(len(result.lines()) == 1, place, "says nothing", result)
                check_trace(folder, "t.fbt", place, whole)
                cases += 1
    return f"{cases} failures"


def training_goes_on_to_the_same_hash():
    cases = refused = 0
    with Folder(steps=40) as folder:
        command = [FIRSTBIT, "train", "run.json", "-o", "t.fbt", "--json", "--threads", "2"]
        sound = run(command, folder.path)
        want = final_hash(sound)
        expect(want is not None, sound)
        whole = events_of(FIRSTBIT, "t.fbt", folder.path)[0]
        os.unlink(folder / "t.fbt")
        for kind in ("file", "thread", "memory"):
            for place, result in every_failure(command, folder, kind, armed=True):
                cases += 1
                # Before its first step a run may be refused; and what training needs, it needs.
                if result.status == 2:
                    refused += 1
                    expect(len(result.lines()) in (1, 2), place, result)
                    expect(final_hash(result) is None, place, result)
                else:
                    expect(result.status in (0, 1), place, result)
                    expect(final_hash(result) == want, place, "another hash", result)
                    expect(len(result.lines()) <= 2, place, "says more than a line", result)
                check_trace(folder, "t.fbt", place, whole)
    return f"{cases} failures, {refused} of them ended the run with a line"


def make_traces(folder):
    """A whole trace, another one, and a torn one with its tail."""
    run([FIRSTBIT, "train", "run.json", "-o", "a.fbt"], folder.path)
    run([FIRSTBIT, "train", "run.json", "-o", "b.fbt", "--set", "seed=2"], folder.path)
    # A footer that cannot be written leaves the trace torn, and its tail.
    calls = count_calls([FIRSTBIT, "train", "run.json", "-o", "torn.fbt"], folder, "file", True)
    for k in range(calls, 0, -1):
        run([FIRSTBIT, "train", "run.json", "-o", "torn.fbt"], folder.path,
            failing("file", k, True, armed=True))
        if os.path.exists(folder / "torn.fbt-tail"):
            break
    expect(events_of(FIRSTBIT, "torn.fbt", folder.path)[1] == "torn", "no torn trace")


def readers_say_that_memory_is_out():
    cases = 0
    with Folder() as folder:
        make_traces(folder)
        before = folder.files()
        for command in (["verify", "a.fbt"], ["verify", "torn.fbt"], ["info", "a.fbt"],
                        ["show", "torn.fbt", "--json"], ["show", "a.fbt"],
                        ["diff", "a.fbt", "b.fbt"],
                        ["diff", "a.fbt", "a.fbt"],
                        ["recover", "torn.fbt", "-o", "out.fbt"],
                        ["export", "a.fbt", "jsonl", "out.jsonl"]):
            command = [FIRSTBIT] + command
            sound = run(command, folder.path)
            remove_outputs(folder)
            for kind in ("memory", "file"):
                if kind == "file" and count_calls(command, folder, kind) == 0:
                    continue
                for place, result in every_failure(command, folder, kind):
                    cases += 1
                    place = f"{' '.join(command[1:])}: {place}"
                    if command[1] == "info":  # what it looks for in events may be missing
                        expect(result.status in (0, 2), place, result)
                    elif command[1] == "diff" and result.status == sound.status:
                        # A replay that failed is remarked; the verdict is the same.
                        expect(result.out[:6] == sound.out[:6], place, result, result.out)
                    elif (result.status, result.out) != (sound.status, sound.out):
                        expect(result.status == 2, place, result)
                        expect(len(result.lines()) == 1, place, result)
                    if os.path.exists(folder / "out.fbt"):
                        expect(events_of(FIRSTBIT, "out.fbt", folder.path)[1] == "complete", place,
                               "leaves half a file")
                    expect(result.status == 0 or not os.path.exists(folder / "out.jsonl"), place,
                           "leaves half a file")
                    remove_outputs(folder)
                    left = set(folder.files()) - set(before) - {"count"}
                    expect(not left, place, "leaves", left)
    return f"{cases} failures"


if __name__ == "__main__":
    main([a_program_that_records_computes_the_same, training_goes_on_to_the_same_hash,
          readers_say_that_memory_is_out])
