#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A second reader of traces, written from docs/trace-format.md alone.

usage: read_trace.py RUN.fbt [--summary]

Prints every event as a line of JSON, the same as `firstbit export RUN.fbt jsonl -`, after it has
refused what a reader must refuse and computed all roots and chains again. A torn trace is read to
its end. Exit status: 0 complete, 1 torn or full, 2 not a trace or corrupt. Needs python3-xxhash and
python3-zstandard.
"""

import struct
import sys

import zstandard

from trace_bytes import Cursor, Refused, hash_bytes, name_bytes, real_bytes, require, xxh128, xxh64
from trace_json import ROLES, DTYPES, event_json

PAGE = 4096
NONE = 2**64 - 1
STEP_MAX = 2**62
CHUNK_MAX = 4194304

PHASES = [None, "init", "data", "forward", "loss", "backward", "comm", "optimizer", "schedule",
          "eval", "checkpoint"]
KINDS = [None, "tensor", "draw", "sample", "scalar", "seed", "mode", "param", "collective",
         "checkpoint", "mark"]

SHAPED = ("tensor", "param", "collective")
HASHED = SHAPED + ("draw", "sample", "checkpoint")
WIDTHS = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "f8e4m3": 1, "f8e5m2": 1, "c64": 4, "c128": 8, "i8": 1,
          "i16": 2, "i32": 4, "i64": 8, "u8": 1, "u16": 2, "u32": 4, "u64": 8, "bool": 1}
NAMED_NUMBERS = {"draw": ("key", "counter", "count"), "sample": ("counter", "count"), "seed": ("key",)}


# --- The file ------------------------------------------------------------------------------------

class Header:
    def __init__(self, file):
        file.seek(0)
        fixed = file.read(128)
        require(len(fixed) > 0, "the file is empty")
        require(fixed[:8] == bytes.fromhex("894642540D0A1A0A")[:len(fixed)], "not a trace")
        require(len(fixed) == 128, "ends within the header")
        c = Cursor(fixed)
        c.take(8)
        self.version, fixed_bytes = c.number("I"), c.number("I")
        require(self.version == 1, "unknown version")
        self.ignorable, self.read_only, incompatible = c.number("Q"), c.number("Q"), c.number("Q")
        self.id = c.take(16)
        document_bytes, self.span, self.level = c.number("Q"), c.number("Q"), c.number("I")
        require(fixed_bytes == 128 and document_bytes <= 1048576, "header sizes")
        require(self.span == -(-(128 + document_bytes) // PAGE) * PAGE, "header span")
        require(c.take(44) == bytes(44), "reserved bytes of the header")
        self.document = file.read(document_bytes)
        require(len(self.document) == document_bytes, "ends within the header")
        require(xxh64(fixed[:120] + self.document) == c.number("Q"), "header check")
        require(incompatible == 0, "unknown incompatible feature")
        require(1 <= self.level <= 5 and b"\0" not in self.document, "header contents")


class Chunk:
    """A chunk header, and its body when asked for."""

    def __init__(self, file, offset, header):
        file.seek(offset)
        raw = file.read(512)
        require(len(raw) == 512 and raw[:4] == b"FBCK", "no chunk here")
        require(struct.unpack("<Q", raw[504:])[0] == xxh64(raw[:504]), "chunk header check")
        c = Cursor(raw)
        c.take(4)
        fixed, self.type, self.codec, self.id = c.number("H"), c.number("B"), c.number("B"), c.take(16)
        self.sequence = c.number("Q")
        self.packed_stored, self.packed_raw, self.hashes, self.events = (c.number("I") for _ in range(4))
        self.first_event, self.first_step, self.last_step = (c.number("Q") for _ in range(3))
        self.finished_step, self.finished_steps, self.offset, self.first_nonfinite = (
            c.number("Q") for _ in range(4))
        self.steps_bytes, self.steps, self.steps_check = c.number("I"), c.number("I"), c.number("Q")
        c.take(8)  # staged: for who reads the tail file too
        self.chains = [int.from_bytes(c.take(16), "little") for _ in range(5)]
        require(c.take(48) == bytes(48), "reserved bytes")
        self.skips = [c.number("Q") for _ in range(28)]
        require(c.take(16) == bytes(16), "reserved bytes")
        self.body_check = c.number("Q")
        require(fixed == 512 and self.type != 0 and self.codec in (0, 1), "chunk header")
        require(self.id == header.id and self.offset == offset, "chunk of another trace or place")
        self.check_sizes()
        self.file = file

    def check_sizes(self):
        for packed in (self.packed_raw, self.packed_stored):
            require(packed + self.hashes + self.steps_bytes <= CHUNK_MAX, "chunk too large")
        require(self.codec == 1 or self.packed_raw == self.packed_stored, "sizes of codec 0")
        require(self.hashes % 16 == 0 and self.hashes <= 16 * self.events <= 16 * self.packed_raw, "counts")
        require(self.events <= 1 << 19, "counts")
        require(32 * self.steps <= self.steps_bytes, "counts")
        require(self.first_step <= self.last_step <= STEP_MAX, "steps")
        require(self.first_event <= STEP_MAX and self.sequence <= STEP_MAX, "numbers")
        for skip in self.skips:
            require(skip % PAGE == 0 and (skip == 0 or skip < self.offset), "skip pointer")

    def end(self):
        size = 512 + self.steps_bytes + self.packed_stored + self.hashes
        return self.offset + -(-size // PAGE) * PAGE

    def body(self):
        """(steps part, packed part, hashes part)"""
        self.file.seek(self.offset + 512)
        body = self.file.read(self.steps_bytes + self.packed_stored + self.hashes)
        require(len(body) == self.steps_bytes + self.packed_stored + self.hashes, "ends within a chunk")
        require(xxh64(body) == self.body_check, "body check")
        steps, rest = body[:self.steps_bytes], body[self.steps_bytes:]
        require(xxh64(steps) == self.steps_check, "steps check")
        packed, hashes = rest[:self.packed_stored], rest[self.packed_stored:]
        if self.codec == 1:
            try:
                packed = zstandard.ZstdDecompressor().decompress(packed, max_output_size=self.packed_raw)
            except zstandard.ZstdError as error:
                raise Refused("does not decompress") from error
        require(len(packed) == self.packed_raw, "does not decompress to its size")
        return steps, packed, hashes


def sound(file, offset, header):
    try:
        chunk = Chunk(file, offset, header)
        chunk.body()
        return chunk
    except Refused:
        return None


# --- A chunk's body ------------------------------------------------------------------------------

class Site:
    def __init__(self, c, strings, frames):
        def string():
            return strings[c.below(len(strings), "undefined string")]

        kind, phase = c.varint(), c.varint()
        require(0 < kind < len(KINDS) and phase < len(PHASES), "unknown kind or phase")
        self.kind, self.phase, self.kind_number, self.phase_number = KINDS[kind], PHASES[phase], kind, phase
        self.occurrence, self.note = c.below(2**32, "occurrence"), c.below(2, "note")
        self.stack = c.below(frames + 1, "undefined frame")
        self.path, self.op, self.slot = string(), string(), string()
        self.dtype, self.shape = None, None
        if self.kind in ("draw", "seed"):
            self.stream, self.algorithm = string(), string()
        if self.kind == "draw":
            self.distribution, self.consumer = string(), string()
            self.parameters = [c.number("d"), c.number("d")]
        if self.kind == "sample":
            self.dataset = string()
            self.role = c.below(len(ROLES), "unknown role")
        if self.kind in SHAPED + ("scalar",):
            self.dtype = c.below(len(DTYPES), "unknown dtype")
            require(self.dtype > 0, "unknown dtype")
        if self.kind in SHAPED:
            self.shape = [c.varint() for _ in range(c.below(9, "rank"))]
        self.source = string() if c.left() > 0 else b""
        self.arguments = string() if c.left() > 0 else b""
        self.hash = xxh128(struct.pack("<BI", phase, self.occurrence) +
                           b"".join(name + b"\0" for name in (self.path, self.op, self.slot)))

    def class_number(self):
        if self.note or self.phase in ("eval", "checkpoint") or self.kind in ("checkpoint", "mark"):
            return 4
        return {"scalar": 0, "sample": 1, "draw": 1, "seed": 1, "mode": 1, "param": 2}.get(self.kind, 3)

    def identity(self, step, micro):
        return xxh128(hash_bytes(self.hash) + struct.pack("<Qi", step, micro))


class Form:
    def __init__(self, c, sites, number):
        self.site = sites[c.below(len(sites), "undefined site")]
        self.flags, self.columns = c.below(4, "reserved flag"), c.below(8, "reserved column")
        kind = self.site.kind
        require(not self.columns & 1 or kind in HASHED, "column that the kind does not have")
        require(not self.columns & 2 or kind == "sample", "column that the kind does not have")
        require(not self.columns & 4 or kind in ("checkpoint", "mark"), "column that the kind does not have")
        self.inputs = []
        for _ in range(c.below(65536, "too many inputs")):
            site = sites[c.below(len(sites), "undefined site")]
            step, micro = c.varint(), c.below(2**31 + 2, "micro-batch")
            require(step >> 1 <= STEP_MAX, "step of an input")
            self.inputs.append((site, step, micro))
        self.follower = number + 1
        self.storage = 0
        self.version = (0, 0)  # last, last but one
        self.numbers = {name: (0, 0) for name in ("key", "counter", "count")}


class Event:
    pass


def predict(last, before):
    return last + (last - before)


def from_planes(data, width):
    """Elements whose bytes were stored byte 0 of all, byte 1 of all, ..."""
    count = len(data) // width
    return [bytes(data[p * count + i] for p in range(width)) for i in range(count)]


class Extras:
    """Sketches, block hashes and contents of a chunk (5.7), by the event's place in it."""

    def __init__(self, sections, events):
        self.events = events
        require(not (sections[64].left() and sections[67].left()), "both sections of sketches")
        self.sketches = self.read_sketches(sections[64], False) | self.read_sketches(sections[67], True)
        self.blocks = self.read_blocks(sections[65])
        self.contents = self.read_contents(sections[66])
        require(all(sections[s].left() == 0 for s in (64, 65, 66, 67)), "bytes left over in section 64 to 67")

    def rows(self, c, fields):
        """(event, numbers) of the rows that begin a section."""
        place, count = 0, c.varint() if c.left() else None
        require(count != 0, "no rows")
        for _ in range(count or 0):
            place += c.varint()
            require(place < self.events, "row of no event")
            yield place, [c.varint() for _ in range(fields)]
            place += 1

    def read_sketches(self, c, editions):
        rows = [(place, row if editions else row + [1]) for place, row in self.rows(c, 7 if editions else 6)]
        for _, (elements, nan, infinite, zero, subnormal, width, edition) in rows:
            require(edition != 0, "edition of a sketch")
            require(width in (1, 2, 4, 8) and elements <= STEP_MAX, "width of a sketch")
            require(nan + infinite + zero + subnormal <= elements, "counts of a sketch")
        reals = from_planes(c.take(len(rows) * 69 * 8), 8)
        reals = [struct.unpack("<d", real)[0] for real in reals]
        sketches = {}
        for i, (place, row) in enumerate(rows):
            samples = from_planes(c.take(min(64, row[0]) * row[5]), row[5])
            sketches[place] = [row, reals[69 * i:69 * (i + 1)], samples]
        for place, _ in rows:
            sketches[place].append([int.from_bytes(c.take(16), "little") for _ in range(2)])
        return sketches

    def read_blocks(self, c):
        rows = list(self.rows(c, 1))
        require(all(2 <= count <= 65536 for _, (count,) in rows), "count of blocks")
        return {place: [int.from_bytes(c.take(16), "little") for _ in range(count)] for place, (count,) in rows}

    def read_contents(self, c):
        """Total of each event whose contents begin here."""
        totals, before = {}, None
        count = c.varint() if c.left() else None
        require(count != 0, "no rows")
        sizes = []
        for _ in range(count or 0):
            event, width, total, offset, size = (c.varint() for _ in range(5))
            require(event <= self.events and 1 <= width <= 16 and total <= STEP_MAX, "contents")
            require(size <= 1048576 and offset + size <= total, "size of contents")
            require(size % width == 0 and total % width == 0, "contents cut within an element")
            if before is not None and before[0] == event:
                require((offset, width, total) == before[1:], "contents do not go on")
            else:
                require((before is None or event > before[0]) and (offset == 0) == (event > 0), "contents")
                totals[event - 1] = total
            before = (event, offset + size, width, total)
            sizes.append(size)
        for size in sizes:
            c.take(size)
        return totals

    def add(self, e, place):
        e.sketch, e.blocks = self.sketches.get(place), self.blocks.get(place)
        e.contents = self.contents.get(place)
        if e.sketch or e.blocks or e.contents is not None:
            require(e.site.kind in SHAPED, "a sketch or contents of an event that is no tensor")
        if e.sketch:
            require(e.sketch[0][5] == WIDTHS[DTYPES[e.site.dtype]], "width of a sketch")


class Body:
    """The rows of a chunk: iterate to get events and ends of steps."""

    def __init__(self, chunk):
        self.chunk = chunk
        steps, packed, hashes = chunk.body()
        self.steps, self.hashes = Cursor(steps), Cursor(hashes)
        self.sections = self.find_sections(packed)
        self.read_dictionary()
        self.extras = Extras(self.sections, chunk.events)

    @staticmethod
    def find_sections(packed):
        c = Cursor(packed)
        table = [(c.varint(), c.varint()) for _ in range(c.varint())]
        sections = {number: Cursor(b"") for number in [*range(1, 14), 64, 65, 66, 67]}
        last = 0
        for number, size in table:
            require(number > last and (number < 14 or number >= 64), "section table")
            last = number
            sections[number] = Cursor(c.take(size))
        require(c.left() == 0, "sections do not fill the packed part")
        return sections

    def count(self, section, limit):
        c = self.sections[section]
        return (c.below(limit + 1, "count") if c.left() else 0), c

    def read_dictionary(self):
        n, c = self.count(1, 262144)
        self.strings = [b""] + [c.counted(1024) for _ in range(n)]
        require(not any(b"\0" in s for s in self.strings), "zero byte in a string")
        n, c = self.count(2, 4096)
        modules = [(c.below(len(self.strings), "undefined string"), c.counted(32)) for _ in range(n)]
        frames, c = self.count(3, 65536)
        for i in range(frames):
            c.below(i + 1, "caller of a frame")
            c.below(len(modules), "undefined module")
            c.varint()
        n, c = self.count(4, 65536)
        sites = [Site(Cursor(c.take(c.varint())), self.strings, frames) for _ in range(n)]
        n, c = self.count(5, 65536)
        self.forms = [Form(Cursor(c.take(c.varint())), sites, i) for i in range(n)]
        for section in range(1, 6):
            require(self.sections[section].left() == 0, "bytes left over in the definitions")

    def __iter__(self):
        rows, number, ends = self.sections[6], self.chunk.first_event, 0
        inputs = 0
        self.step, self.micro, self.previous = None, -1, None
        while rows.left():
            row = rows.varint()
            if row == 1:
                end = self.control()
                if end is not None:
                    ends += 1
                    yield "step", end
            else:
                e = self.event(row, number)
                inputs += len(e.inputs)
                require(inputs <= 4194304, "more inputs than a chunk may have")
                self.extras.add(e, number - self.chunk.first_event)
                yield "event", e
                number += 1
        require(number - self.chunk.first_event == self.chunk.events, "events")
        require(ends == self.chunk.steps, "steps")
        require(self.step is None or self.step == self.chunk.last_step, "last step")
        cursors = [self.steps, self.hashes] + [self.sections[s] for s in range(6, 14)]
        require(all(c.left() == 0 for c in cursors), "bytes left over")

    def control(self):
        c = self.sections[7]
        kind = c.varint()
        body = Cursor(c.take(c.varint()))
        require(kind != 0, "control record of kind 0")
        if kind == 1:
            step = body.number("Q")
            require(step == self.chunk.first_step if self.step is None else step > self.step, "step order")
            require(step <= self.chunk.last_step, "step order")
            self.step = step
        elif kind == 2:
            return self.step_end()
        elif kind == 3:
            self.micro = body.number("i")
            require(self.micro >= -1, "micro-batch")
        return None

    def step_end(self):
        c = self.steps
        end = {"step": c.number("Q"), "first_event": c.number("Q"), "events": c.number("Q"),
               "classes": c.number("Q"), "roots": {}, "chains": {}}
        require(end["classes"] < 32 and end["step"] == self.step, "entry of the steps part")
        for number in range(5):
            if end["classes"] >> number & 1:
                end["roots"][number] = int.from_bytes(c.take(16), "little")
                end["chains"][number] = int.from_bytes(c.take(16), "little")
        return end

    def event(self, row, number):
        predicted = 0 if self.previous is None else self.forms[self.previous].follower
        which = predicted if row == 0 else row - 2
        require(which < len(self.forms) and self.step is not None, "row")
        if self.previous is not None:
            self.forms[self.previous].follower = which
        self.previous = which
        form = self.forms[which]
        e = Event()
        e.number, e.site, e.flags, e.step, e.micro = number, form.site, form.flags, self.step, self.micro
        e.inputs = [self.input(*given) for given in form.inputs]
        self.columns(e, form)
        return e

    def input(self, site, step, micro):
        if step & 1:
            step >>= 1
        else:
            step = self.step - (step >> 1)
            require(step >= 0, "input of a step before step 0")
        return site, step, -1 if micro == 0 else self.micro if micro == 1 else micro - 2

    def columns(self, e, form):
        kind = form.site.kind
        e.hash = int.from_bytes(self.hashes.take(16), "little") if form.columns & 1 else 0
        if kind in ("tensor", "param"):
            form.storage = e.storage = (form.storage + self.sections[8].zigzag()) % 2**64
            e.version = (predict(*form.version) + self.sections[9].zigzag()) % 2**32
            form.version = (e.version, form.version[0])
        elif kind in ("scalar", "mode"):
            e.value = self.sections[10].number("d")
        for name in NAMED_NUMBERS.get(kind, ()):
            value = (predict(*form.numbers[name]) + self.sections[11].zigzag()) % 2**64
            form.numbers[name] = (value, form.numbers[name][0])
            setattr(e, name, value)
        e.indices = e.text = None
        if form.columns & 2:
            require(e.count <= 131072, "indices")
            e.indices, last = [], 0
            for _ in range(e.count):
                last = (last + self.sections[12].zigzag()) % 2**64
                e.indices.append(last)
        if form.columns & 4:
            e.text = self.sections[13].counted(65536)
            require(b"\0" not in e.text, "zero byte in a text")


def content(e):
    s = e.site
    if s.kind in SHAPED:
        return struct.pack(f"<BB{len(s.shape)}Q", s.dtype, len(s.shape), *s.shape) + hash_bytes(e.hash)
    if s.kind == "draw":
        names = b"".join(name_bytes(n) for n in (s.stream, s.algorithm, s.distribution, s.consumer))
        return (names + real_bytes(s.parameters[0]) + real_bytes(s.parameters[1]) +
                struct.pack("<QQQ", e.key, e.counter, e.count) + hash_bytes(e.hash))
    if s.kind == "sample":
        indices = 0 if e.indices is None else xxh128(struct.pack(f"<{len(e.indices)}Q", *e.indices))
        return (name_bytes(s.dataset) + struct.pack("<BQQ", s.role, e.counter, e.count) +
                hash_bytes(e.hash) + hash_bytes(indices))
    if s.kind == "scalar":
        return struct.pack("<B", s.dtype) + real_bytes(e.value)
    if s.kind == "seed":
        return name_bytes(s.stream) + name_bytes(s.algorithm) + struct.pack("<Q", e.key)
    if s.kind == "mode":
        return real_bytes(e.value)
    return hash_bytes(e.hash) if s.kind == "checkpoint" else name_bytes(e.text or b"")


def event_hash(e):
    inputs = xxh128(b"".join(hash_bytes(s.identity(step, micro)) for s, step, micro in e.inputs))
    return xxh128(hash_bytes(e.site.identity(e.step, e.micro)) + hash_bytes(inputs) +
                  struct.pack("<BB", e.site.kind_number, e.flags & 2) + content(e))


# --- A trace -------------------------------------------------------------------------------------

class Trace:
    def __init__(self, path):
        self.file = open(path, "rb")  # pylint: disable=consider-using-with
        self.header = Header(self.file)
        self.size = self.file.seek(0, 2)
        self.status, self.footer = "torn", None
        self.end = self.header.span
        self.find_end()

    def find_end(self):
        last = self.size // PAGE * PAGE
        for offset in range(last, self.header.span - 1, -PAGE):
            chunk = sound(self.file, offset, self.header)
            if chunk is None:
                continue
            if chunk.type == 2 and offset == self.size - PAGE:
                self.read_footer(chunk)
                self.end = offset
                return
            if chunk.type == 1:
                self.end = chunk.end()
                return

    def read_footer(self, chunk):
        c = Cursor(chunk.body()[1])
        status, self.recovered, reason = c.number("B"), c.number("B"), c.number("H")
        names = ("chunks", "events", "steps", "first_step", "finished_step")
        self.footer = {name: c.number("Q") for name in names}
        require(status in (0, 2) and reason <= 511, "footer")
        self.reason = c.take(reason)
        self.status = "full" if status == 2 else "complete"

    def chunks(self):
        offset, sequence, event = self.header.span, 0, 0
        while offset < self.end:
            chunk = Chunk(self.file, offset, self.header)
            require(chunk.sequence == sequence and chunk.first_event == event, "order of chunks")
            if chunk.type == 1:
                yield chunk
            offset, sequence, event = chunk.end(), sequence + 1, event + chunk.events

    def events(self):
        """Every event, after which all roots, chains and counts have been checked."""
        roots, chains, seen = [0] * 5, [0] * 5, 0
        finished, steps, first, nonfinite, events, chunks, offsets = None, 0, None, NONE, 0, 0, []
        for chunk in self.chunks():
            for what, item in Body(chunk):
                if what == "event":
                    number = item.site.class_number()
                    events += 1
                    if item.flags & 1 and nonfinite == NONE:
                        nonfinite = item.number
                    if finished is not None and item.step <= finished:
                        require(number == 4, "event behind the end of its step")
                    else:
                        seen |= 1 << number
                        roots[number] = (roots[number] + event_hash(item)) % 2**128
                    yield item
                    continue
                require(seen & ~item["classes"] == 0, "class that is not recorded")
                require(item["first_event"] + item["events"] == events, "events of a step")
                require(finished is None or item["step"] > finished, "step ends twice")
                for c in item["roots"]:
                    chains[c] = xxh128(hash_bytes(chains[c]) + struct.pack("<Q", item["step"]) +
                                       hash_bytes(roots[c]))
                    require(item["roots"][c] == roots[c] and item["chains"][c] == chains[c], "root or chain")
                first = item["step"] if first is None else first
                finished, steps, roots, seen = item["step"], steps + 1, [0] * 5, 0
            require(chunk.chains == chains and chunk.finished_steps == steps, "chunk header")
            require(chunk.finished_step == (NONE if finished is None else finished), "chunk header")
            require(chunk.first_nonfinite == nonfinite, "chunk header")
            offsets.append(chunk.offset)
            for k, skip in enumerate(chunk.skips):
                back = chunks - 2**k
                require(skip == (offsets[back] if back >= 0 else 0), "skip pointer")
            chunks += 1
        if self.footer is not None:
            require(self.footer == {"chunks": chunks, "events": events, "steps": steps,
                                    "first_step": first or 0,
                                    "finished_step": NONE if finished is None else finished}, "footer")


def main():
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    if len(arguments) != 1:
        sys.exit(__doc__)
    out = sys.stdout.buffer
    try:
        trace = Trace(arguments[0])
        count = 0
        for event in trace.events():
            count += 1
            if "--summary" not in sys.argv:
                out.write(event_json(event).encode() + b"\n")
    except (Refused, OSError) as error:
        out.flush()
        print(f"read_trace.py: {arguments[0]}: {error}", file=sys.stderr)
        return 2
    if "--summary" in sys.argv:
        print(f"{trace.status} {count} events")
    return 0 if trace.status == "complete" else 1


if __name__ == "__main__":
    sys.exit(main())
