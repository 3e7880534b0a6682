# SPDX-License-Identifier: Apache-2.0
"""Events as lines of JSON, by docs/trace-format.md, section 8: the second half of read_trace.py."""

import codecs
import math
import struct

ROLES = ["unknown", "train", "val", "test"]
DTYPES = [None, "f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2", "c64", "c128", "i8", "i16", "i32",
          "i64", "u8", "u16", "u32", "u64", "bool"]
CLASSES = ["scalars", "data", "state", "ops", "notes"]

BROKEN = "\udc00"  # no text decodes to a lone surrogate
codecs.register_error("byte", lambda e: (BROKEN, e.start + 1))


def string(data):
    if data is None:
        return "null"
    out = []
    for character in data.decode("utf-8", "byte"):
        code = ord(character)
        if character in '"\\':
            out.append("\\" + character)
        elif character == BROKEN:
            out.append("\\ufffd")
        elif code < 0x20 or 0x7F <= code <= 0x9F:
            out.append(f"\\u{code:04x}")
        else:
            out.append(character)
    return '"' + "".join(out) + '"'


def real(x):
    if math.isnan(x):
        return '"nan"'
    if math.isinf(x):
        return '"inf"' if x > 0 else '"-inf"'
    return "%.17g" % x


def narrowed(x):
    try:
        return struct.pack("<f", x)
    except OverflowError:
        return struct.pack("<f", math.copysign(math.inf, x))


def bits(site, x):
    if site.dtype == 2:
        return '"0x%08x"' % struct.unpack("<I", narrowed(x))
    return '"0x%016x"' % struct.unpack("<Q", struct.pack("<d", x))


def text(name):
    return string(None if name is None else name.encode())


def micro(number):
    return "null" if number == -1 else str(number)


def identity_members(site, with_kind):
    members = [("phase", text(site.phase)), ("path", string(site.path)), ("op", string(site.op))]
    if with_kind:
        members.append(("kind", text(site.kind)))
    return members + [("slot", string(site.slot))]


def joined(members):
    return "{" + ",".join(f'"{key}":{value}' for key, value in members) + "}"


def input_json(given):
    site, step, micro_batch = given
    return joined([("step", step), ("micro", micro(micro_batch))] + identity_members(site, False) +
                  [("occurrence", site.occurrence)])


def quoted(number):
    return f'"{number}"'


def kind_members(e):
    s = e.site
    if s.kind in ("tensor", "param"):
        return [("storage", quoted(e.storage)), ("version", e.version)]
    if s.kind == "draw":
        return [("stream", string(s.stream)), ("algorithm", string(s.algorithm)), ("key", quoted(e.key)),
                ("counter", quoted(e.counter)), ("count", quoted(e.count)),
                ("distribution", string(s.distribution)),
                ("parameters", "[" + ",".join(real(p) for p in s.parameters) + "]"),
                ("consumer", string(s.consumer))]
    if s.kind == "sample":
        indices = "null" if e.indices is None else "[" + ",".join(quoted(i) for i in e.indices) + "]"
        return [("dataset", string(s.dataset)), ("role", text(ROLES[s.role])), ("epoch", quoted(e.counter)),
                ("count", quoted(e.count)), ("indices", indices)]
    if s.kind in ("scalar", "mode"):
        return [("value", real(e.value)), ("bits", bits(s, e.value))]
    if s.kind == "seed":
        return [("stream", string(s.stream)), ("algorithm", string(s.algorithm)), ("seed", quoted(e.key))]
    if s.kind == "checkpoint":
        return [("file", string(e.text))]
    return [("text", string(e.text))] if s.kind == "mark" else []


def sketch_json(sketch):
    (elements, nan, infinite, zero, subnormal, _, edition), reals, samples, (multiset, bf16) = sketch
    smallest, largest, total, magnitudes, squares = reals[:5]
    n = elements - nan - infinite
    mean = total / n if n else math.nan
    variance = squares / n - mean * mean if n else math.nan
    deviation = 0.0 if variance < 0 else math.sqrt(variance) if variance == variance else math.nan
    return joined([("elements", elements), ("min", real(smallest)), ("max", real(largest)),
                   ("mean", real(mean)), ("std", real(deviation)), ("nan", nan), ("inf", infinite),
                   ("zero", zero), ("subnormal", subnormal), ("sum", real(total)),
                   ("sum_abs", real(magnitudes)), ("sum_square", real(squares)),
                   ("multiset", '"%032x"' % multiset if multiset else "null"),
                   ("bf16", '"%032x"' % bf16 if bf16 else "null"),
                   ("linear", "[" + ",".join(real(x) for x in reals[5:]) + "]"),
                   ("samples", "[" + ",".join(f'"0x{s[::-1].hex()}"' for s in samples) + "]")]
                  + ([("edition", edition)] if edition != 1 else []))


def extra_members(e):
    members = [("sketch", sketch_json(e.sketch))] if e.sketch else []
    if e.blocks:
        members.append(("blocks", "[" + ",".join('"%032x"' % b for b in e.blocks) + "]"))
    if e.contents is not None:
        members.append(("contents", quoted(e.contents)))
    return members


def event_json(e):
    s = e.site
    shape = "[]" if s.kind == "scalar" else "null"
    if s.shape is not None:
        shape = "[" + ",".join(str(n) for n in s.shape) + "]"
    members = [("schema", 1), ("event", e.number), ("step", e.step), ("micro", micro(e.micro))]
    members += identity_members(s, True)
    members += [("dtype", text(DTYPES[s.dtype] if s.dtype else None)), ("shape", shape),
                ("hash", '"%032x"' % e.hash if e.hash else "null"),
                ("inputs", "[" + ",".join(input_json(i) for i in e.inputs) + "]"),
                ("class", text(CLASSES[s.class_number()])), ("occurrence", s.occurrence),
                ("nonfinite", "true" if e.flags & 1 else "false"),
                ("undefined", "true" if e.flags & 2 else "false")]
    arguments = [("arguments", string(s.arguments))] if s.arguments else []
    return joined(members + kind_members(e) + arguments + extra_members(e))
