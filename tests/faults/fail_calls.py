#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""fail_calls.py - the k-th system call or allocation fails, for every k.

usage: fail_calls.py FIRSTBIT RECORD_PROGRAM FAIL_KTH.so [SAMPLES]

While recording: the program ends normally with the same result, and the trace is sound or absent.
While reading: one line and exit status 2, or the same output; no half-written file.
SAMPLES: how many of the allocations of a command fail, and four times as many of its other calls
(default: each of them). A command is started once and forks for every failure (fail_server.c).
"""
import errno
import json
import os
import resource
import select
import subprocess
import sys

from fault_case import Failure, Folder, Result, expect, final_hash, main

FIRSTBIT, RECORD, SHIM = (os.path.abspath(p) for p in sys.argv[1:4])
SAMPLES = int(sys.argv[4]) if len(sys.argv) > 4 else 0
SECONDS = 300  # no single run takes as long
ERRORS = {"files": (errno.ENOSPC, errno.EIO), "threads": (errno.EAGAIN,),
          "system": (errno.EIO, errno.ENOMEM), "memory": (errno.ENOMEM,)}


class Server:
    """A command that waits before its main, and runs once for every request."""

    def __init__(self, command, folder, room=0):
        self.command, self.folder = command, folder
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        requests, answers = os.pipe(), os.pipe()
        # The line numbers of stacks are another program's: one that takes no time stands in for it.
        path = {} if folder.tools is None else {"PATH": folder.tools}

        def prepare():
            os.dup2(requests[0], 198)
            os.dup2(answers[1], 199)
            if room:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

        self.process = subprocess.Popen(
            command, cwd=folder.path, stdin=subprocess.DEVNULL, preexec_fn=prepare, close_fds=False,
            env={**os.environ, **path, "LD_PRELOAD": SHIM, "FAIL_SERVER": "1"})
        os.close(requests[0])
        os.close(answers[1])
        self.requests, self.answers = requests[1], answers[0]

    def close(self):
        os.close(self.requests)
        os.close(self.answers)
        self.process.kill()
        self.process.wait()

    def run(self, kind="nothing", k=0, later=False, number=0, armed=True):
        """The result, and how many calls were counted. A death by signal fails the test."""
        text = f"{kind} {k} {int(later)} {number} {int(armed)} {self.out} {self.err}\n"
        os.write(self.requests, text.encode())
        expect(select.select([self.answers], [], [], SECONDS)[0], self.command, kind, k,
               "does not end")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += os.read(self.answers, 64)
        status, calls = map(int, answer.split())
        expect(os.WIFEXITED(status), self.command, kind, "call", k, "and later" * later,
               "died of signal", status & 127)
        with open(self.out, "rb") as out, open(self.err, "rb") as err:
            done = subprocess.CompletedProcess(None, os.WEXITSTATUS(status), out.read(), err.read())
        return Result(done), calls

    def every_failure(self, kind, armed=True):
        """Yields (where, result) for the k-th call alone, and for it and all later ones."""
        calls = self.run(kind, armed=armed)[1]
        self.folder.tidy()
        wanted = SAMPLES if kind == "memory" else 4 * SAMPLES
        stride = max(1, calls // wanted) if SAMPLES else 1
        for number in ERRORS[kind]:
            for later in (False, True):
                for k in range(1 + 7 * later % stride, calls + 1, stride):
                    where = (f"{' '.join(self.command[1:])}: {kind} call {k} of {calls}"
                             f"{' and later' if later else ''}, {errno.errorcode[number]}")
                    yield where, self.run(kind, k, later, number, armed)[0]


class Tally:
    """How many failures held; those that did not are told, and more are looked for."""

    def __init__(self):
        self.cases = self.refused = self.wrong = 0

    def check(self, place, claim, *what):
        self.cases += 1
        try:
            claim(place, *what)
        except Failure as failure:
            self.wrong += 1
            print(f"        {failure}", flush=True)
        place.tidy()

    def __str__(self):
        expect(not self.wrong, self.wrong, "of", self.cases, "failures")
        return f"{self.cases} failures"


class Place(Folder):
    """A folder with its servers, from which what a run leaves behind is taken away."""

    def __init__(self, **changes):
        super().__init__(**changes)
        self.servers, self.kept, self.tools = {}, [], None

    def __exit__(self, *_):
        for server in self.servers.values():
            server.close()
        super().__exit__()

    def server(self, *command, room=0):
        if command not in self.servers:
            self.servers[command] = Server(list(command), self, room)
        return self.servers[command]

    def keep(self):
        """What is there now stays."""
        self.kept = self.files() + ["out.txt", "err.txt"]

    def left(self):
        return [f for f in self.files() if f not in self.kept]

    def tidy(self):
        for name in self.left():
            os.unlink(self / name)

    def stand_in_for_lines(self):
        self.tools = self / "tools"
        os.mkdir(self.tools)
        with open(self / "tools/addr2line", "w") as f:
            f.write("#!/bin/sh\necho program.c:7\n")
        os.chmod(self / "tools/addr2line", 0o755)

    def events_of(self, trace):
        """The events as verify counts them, and the trace's status."""
        found = json.loads(self.server(FIRSTBIT, "verify", trace, "--json").run()[0].out)
        return found["events"], found["status"]


def check_trace(place, where, whole):
    """Sound or absent, with a prefix of the events; nothing else is left but a tail."""
    left = [f for f in place.left() if f not in ("t.fbt", "t.fbt-tail", "run.ckpt")]
    expect(left == [], where, "leaves", left)
    if os.path.exists(place / "t.fbt"):
        events, status = place.events_of("t.fbt")
        expect(status != "corrupt" and events <= whole, where, "leaves a trace that is", status,
               events)


def check_recording(place, where, result, want, whole):
    expect(result.status == 0 and result.out == want, where, result)
    expect(len(result.lines()) <= 1, where, "says more than a line", result)
    if not os.path.exists(place / "t.fbt"):
        expect(len(result.lines()) == 1, where, "says nothing", result)
    check_trace(place, where, whole)


def a_program_that_records_computes_the_same():
    tally = Tally()
    with Place() as place:
        place.keep()
        # Little room makes a small tail, whose halves turn often.
        server = place.server(RECORD, "t.fbt", "220", room=100 << 10)
        want = server.run()[0].out
        whole, status = place.events_of("t.fbt")
        expect(status == "complete" and whole > 2300, "the trace is", status, whole)
        place.tidy()
        for kind in ERRORS:
            for where, result in server.every_failure(kind):
                tally.check(place, check_recording, where, result, want, whole)
    return str(tally)


def check_training(place, where, result, want, whole):
    """Before its first step a run may be refused; and what training needs, it needs."""
    if result.status == 2:
        expect(len(result.lines()) in (1, 2), where, result)
        expect(final_hash(result) is None, where, result)
    else:
        expect(result.status in (0, 1), where, result)
        expect(final_hash(result) == want, where, "another hash", result)
        expect(len(result.lines()) <= 2, where, "says more than a line", result)
    check_trace(place, where, whole)


def training_goes_on_to_the_same_hash():
    tally = Tally()
    with Place(steps=40) as place:
        place.keep()
        server = place.server(FIRSTBIT, "train", "run.json", "-o", "t.fbt", "--json", "--threads",
                              "2")
        want = final_hash(server.run()[0])
        expect(want is not None, "no hash")
        whole = place.events_of("t.fbt")[0]
        place.tidy()
        for kind in ERRORS:
            for where, result in server.every_failure(kind, armed=kind == "system"):
                tally.refused += result.status == 2
                tally.check(place, check_training, where, result, want, whole)
    return f"{tally}, {tally.refused} of them ended the run with a line"


def make_traces(place):
    """A whole trace, another one, and a torn one with its tail."""
    train = (FIRSTBIT, "train", "run.json", "-o")
    place.server(*train, "a.fbt").run()
    place.server(*train, "b.fbt", "--set", "seed=2").run()
    place.keep()
    # A footer that cannot be written leaves the trace torn, and its tail.
    server = place.server(*train, "torn.fbt")
    for k in range(server.run("files", armed=False)[1], 0, -1):
        place.tidy()
        server.run("files", k, True, errno.ENOSPC, False)
        if os.path.exists(place / "torn.fbt-tail"):
            break
    expect(place.events_of("torn.fbt")[1] == "torn", "no torn trace")
    place.keep()


def check_reading(place, where, command, result, sound):
    later = " and later" in where
    if command == "info":  # what it looks for in events may be missing
        expect(result.status in (0, 2), where, result)
    elif command == "why" and b"cannot be read again" in result.out:  # in the place of that event
        expect(result.status == 0, where, result)
    elif command == "diff" and result.status == sound.status:
        # A replay that failed is remarked; the verdict is the same.
        expect(result.out[:6] == sound.out[:6], where, result, result.out)
    elif (result.status, result.out) != (sound.status, sound.out):
        expect(result.status == 2, where, result)
        # One says that the run's other processes cannot be looked for.
        expect(1 <= len(result.lines()) <= 1 + later, where, result)
    if os.path.exists(place / "out.fbt"):
        expect(place.events_of("out.fbt")[1] == "complete", where, "leaves half a file")
    for name in ("out.jsonl", "out.db"):
        expect(result.status == 0 or not os.path.exists(place / name), where, "leaves half a file")
    left = set(place.left()) - {"out.fbt", "out.jsonl", "out.db"}
    expect(not left, where, "leaves", left)


def readers_say_what_failed():
    tally = Tally()
    with Place() as place:
        make_traces(place)
        place.stand_in_for_lines()
        place.keep()
        for command in (("verify", "a.fbt"), ("verify", "torn.fbt"), ("info", "a.fbt"),
                        ("show", "a.fbt"), ("recover", "torn.fbt", "-o", "out.fbt"),
                        ("diff", "a.fbt", "a.fbt"), ("show", "torn.fbt", "--json"),
                        ("export", "a.fbt", "jsonl", "out.jsonl"), ("diff", "a.fbt", "b.fbt"),
                        ("replay", "torn.fbt"), ("info", "a.fbt", "--contents"),
                        ("why", "torn.fbt", "loss@2"), ("digest", "a.fbt"),
                        ("share", "torn.fbt", "-o", "out.fbt"), ("pack", "a.fbt", "-o", "out.fbt"),
                        ("export", "torn.fbt", "sqlite", "out.db")):
            server = place.server(FIRSTBIT, *command)
            sound = server.run()[0]
            place.tidy()
            for kind in ERRORS:
                for where, result in server.every_failure(kind):
                    tally.check(place, check_reading, where, command[0], result, sound)
            if not SAMPLES:
                print(f"        {' '.join(command)}: {tally.cases} failures so far", flush=True)
    return str(tally)


if __name__ == "__main__":
    main([a_program_that_records_computes_the_same, training_goes_on_to_the_same_hash,
          readers_say_what_failed])
