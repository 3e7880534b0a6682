# SPDX-License-Identifier: Apache-2.0
"""Random planted faults for a recorded run, and the event that a diff has to name for each.

What is expected follows from the fault and docs/events.md; nothing here asks firstbit for it. The
clean run's events only say which tensors there are.
"""
from collections import namedtuple

# text: for --inject. step, micro, phase, path, slot: of the first different event; step None: no
# training state differs, the draw is one note. op: of a draw. element, bit: of a flip.
Fault = namedtuple("Fault", "text step micro phase path slot op element bit cause",
                   defaults=(None,) * 4)


def flippable(events):
    """The tensors in which a bit can be flipped: outputs, gradients of micro-batches, parameters."""
    for e in events:
        if e["nonfinite"] or not e["shape"] and e["dtype"] is None:
            continue
        if e["kind"] == "tensor" and (e["phase"], e["slot"]) in (
                ("forward", "out"), ("loss", "out"), ("backward", "grad")):
            yield e
        elif e["kind"] == "param" and e["slot"] == "param":
            yield e


def flip(rng, events):
    at = rng.choice(list(flippable(events)))
    elements = 1
    for size in at["shape"]:
        elements *= size
    element, bit = rng.randrange(elements), rng.randrange(32)
    text = "flip:step=%d,path=%s,slot=%s,element=%d,bit=%d" % (at["step"], at["path"], at["slot"],
                                                               element, bit)
    if at["micro"] is not None:
        text += ",micro=%d" % at["micro"]
    phase = {"out": "loss" if at["path"] == "loss" else "forward", "grad": "backward",
             "param": "init" if at["step"] == 0 else "optimizer"}[at["slot"]]
    return Fault(text, at["step"], at["micro"], phase, at["path"], at["slot"], None, element, bit,
                 "bit-flip")


def swap(rng, case):
    i, j = rng.sample(range(case.size), 2)
    step = rng.randint(1, case.steps)
    first = min(i, j) // case.micro_size()
    return Fault("swap:step=%d,i=%d,j=%d" % (step, i, j), step, first, "data", "data", "samples",
                 cause="data-order")


def draw(rng, case, events):
    """One number more from the stream of a parameter, of a dropout layer or of the shuffle. It
    moves what is drawn behind it: in step 0, in its step, or where an epoch begins."""
    streams = {e["stream"]: e["phase"] for e in events if e["kind"] == "draw"}
    stream = rng.choice(sorted(streams))
    step = rng.randint(0, case.steps)
    batches = case.train_count // case.size
    if stream == "shuffle":
        step = max(step, 1)
        reaches = (step - 1) % batches == 0
        phase, path = "data", "data"
    else:
        phase, path = streams[stream], stream
        reaches = (step == 0) == (phase == "init")
    text = "draw:step=%d,stream=%s" % (step, stream)
    if not reaches:
        return Fault(text, None, None, None, None, None)
    return Fault(text, step, None, phase, path, "draw", op="extra", cause="rng-offset")


def random_fault(rng, case, events):
    chance = rng.random()
    if chance < 0.2 and case.size > 1:
        return swap(rng, case)
    if chance < 0.4:
        return draw(rng, case, events)
    return flip(rng, events)


def wrong_about(fault, report, bad_is_a):
    """What a report of `diff --json` gets wrong, or None."""
    if fault.step is None:
        if report["verdict"] != "same" or len(report["notes"]) != 1:
            return "verdict %s with %d notes; the draw reaches nothing" % (report["verdict"],
                                                                          len(report["notes"]))
        return None
    first = report["first"] or {}
    for key in ("step", "micro", "phase", "path", "slot") + (("op",) if fault.op else ()):
        if first.get(key) != getattr(fault, key):
            return "%s: expected %s, got %s" % (key, getattr(fault, key), first.get(key))
    expected = "content" if fault.op is None else "only_a" if bad_is_a else "only_b"
    if report["verdict"] != "differ" or first["what"] != expected:
        return "%s, %s; expected differ, %s" % (report["verdict"], first["what"], expected)
    cause = report["cause"] or {}
    if cause.get("name") != fault.cause or cause.get("confidence") != "confirmed":
        return "cause %s (%s), expected %s, confirmed" % (cause.get("name"),
                                                          cause.get("confidence"), fault.cause)
    if fault.element is None:
        return None
    if first["element"] != fault.element or first["differing"] != 1:
        return "element %s of %s, expected %d" % (first["element"], first["differing"],
                                                  fault.element)
    if int(first["bits_a"], 16) ^ int(first["bits_b"], 16) != 1 << fault.bit:
        return "bits %s and %s, expected bit %d" % (first["bits_a"], first["bits_b"], fault.bit)
    return None
