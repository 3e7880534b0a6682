#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""lost_disk.py - the place of the trace fills up, goes away or may not be written: training goes on
to the same hash, the trace up to there is sound, one line says so.

usage: lost_disk.py FIRSTBIT
"""
import os
import resource
import shutil
import subprocess
import sys
import time

from fault_case import Folder, Result, events_of, expect, final_hash, main, run

FIRSTBIT = os.path.abspath(sys.argv[1])
STEPS = 1500  # a trace of some 4 MB
TRAIN = [FIRSTBIT, "train", "run.json", "-o", "t.fbt", "--steps", str(STEPS), "--json"]
NOBODY = 65534


def wanted(folder):
    return final_hash(run(TRAIN + ["--no-trace"], folder.path))


def check_ended_well(result, want, place):
    expect(result.status == 0 and final_hash(result) == want, place, result)
    expect(len(result.lines()) == 1 and "recording stopped" in result.err.decode(), place, result)


def a_size_limit_stops_the_recording_alone():
    told = []
    with Folder() as folder:
        want = wanted(folder)
        for limit in (0, 4096, 16384, 65536, 100000, 300000, 1 << 20, 2 << 20):
            result = run(TRAIN, folder.path,
                         preexec=lambda n=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (n, n)))
            if result.status == 2:  # not even the header: refused before the first step
                expect(limit <= 4096 and len(result.lines()) == 1, limit, result)
                expect(folder.files() == ["input.txt", "run.json"], limit, folder.files())
                continue
            check_ended_well(result, want, limit)
            events, status = events_of(FIRSTBIT, "t.fbt", folder.path)
            expect(status in ("full", "torn"), limit, status)
            expect(limit < 300000 or events > 1000, limit, events, "events")
            told.append(f"{limit}: {events}")
            for name in folder.files():
                if name.startswith("t.fbt"):
                    os.unlink(folder / name)
    return "bytes: events " + ", ".join(told)


def small_disk(folder, kilobytes):
    """Trains on a tmpfs of that size, in a namespace of its own; the trace is copied out of it."""
    script = (f"mount -t tmpfs -o size={kilobytes}k none small || exit 99; "
              f"\"$@\" -o small/t.fbt; s=$?; cp small/t.fbt* . 2>cp.err; exit $s")
    os.makedirs(folder / "small", exist_ok=True)
    command = [TRAIN[0], "train", "run.json", "--steps", str(STEPS), "--json"]
    for unshare in (["unshare", "-m"], ["unshare", "-rm"]):
        done = subprocess.run(unshare + ["sh", "-c", script, "sh"] + command, cwd=folder.path,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, timeout=120)
        if done.returncode != 99 and b"unshare" not in done.stderr:
            return Result(done)
    return None


def a_disk_that_fills_up_stops_the_recording_alone():
    told = []
    with Folder() as folder:
        want = wanted(folder)
        for kilobytes in (64, 100, 300, 1024, 2048):
            result = small_disk(folder, kilobytes)
            if result is None:
                return "skipped: no file system may be mounted here"
            check_ended_well(result, want, f"{kilobytes} KB")
            events, status = events_of(FIRSTBIT, "t.fbt", folder.path)
            expect(status == "full" or kilobytes <= 100, kilobytes, status)  # else its tail has the rest
            expect(kilobytes < 300 or events > 1000, kilobytes, events, "events")
            told.append(f"{kilobytes}: {events}")
            for name in folder.files():
                if name.startswith("t.fbt"):
                    os.unlink(folder / name)
    return "KB: events " + ", ".join(told)


def start_in(folder, name):
    os.makedirs(folder / name)
    process = subprocess.Popen(TRAIN[:4] + [name + "/t.fbt"] + TRAIN[5:], cwd=folder.path,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    while not os.path.exists(folder / (name + "/t.fbt")) and process.poll() is None:
        time.sleep(0.001)
    time.sleep(0.02)
    return process


def end(process):
    out, err = process.communicate(timeout=120)
    return Result(subprocess.CompletedProcess(process.args, process.returncode, out, err))


def a_removed_folder_ends_no_training():
    with Folder() as folder:
        want = wanted(folder)
        process = start_in(folder, "gone")
        shutil.rmtree(folder / "gone")
        result = end(process)
        expect(result.status == 0 and final_hash(result) == want, result)
        expect(len(result.lines()) <= 1, result)
        expect(not os.path.exists(folder / "gone"), "the folder is back")
        process = start_in(folder, "moved")
        os.rename(folder / "moved", folder / "there")
        result = end(process)
        expect(result.status == 0 and final_hash(result) == want, result)
        status = events_of(FIRSTBIT, "there/t.fbt", folder.path)[1]
        expect(status == "complete", status)
    return "removed, and moved elsewhere"


def become_nobody():
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def a_folder_that_may_not_be_written_is_refused_at_once():
    with Folder() as folder:
        os.chmod(folder.path, 0o755)
        os.makedirs(folder / "closed", mode=0o555)
        try:
            probe = run([FIRSTBIT, "--version"], folder.path, preexec=become_nobody)
        except (PermissionError, subprocess.SubprocessError):
            return "skipped: the program lies where another user may not read"
        expect(probe.status == 0, probe)
        result = run(TRAIN[:4] + ["closed/t.fbt"] + TRAIN[5:], folder.path, preexec=become_nobody)
        expect(result.status == 2 and len(result.lines()) == 1, result)
        expect("Permission denied" in result.err.decode(), result)
        expect(os.listdir(folder / "closed") == [], "files are left")
    return "one line, nothing left behind"


if __name__ == "__main__":
    main([a_size_limit_stops_the_recording_alone, a_disk_that_fills_up_stops_the_recording_alone,
          a_removed_folder_ends_no_training, a_folder_that_may_not_be_written_is_refused_at_once])
