# SPDX-License-Identifier: Apache-2.0
"""Whole training steps of two GPTs: this engine, at each trace level, beside PyTorch.

usage: bench_step.py FIRSTBIT [--case small|124m] [--rounds N] [--steps N] [--levels LIST]
                     [--llmc PROGRAM] [--cpu] [--json]

Each round runs every contestant once in a process of its own, one after the other, so that a slow
spell of the machine hits all of them; the median over rounds of the median step time is reported.
PyTorch runs in the setting that is its best here: one PyTorch thread, its BLAS with two; the same
model, batch, optimizer and clipping, each layer one of PyTorch's own functions. Beside the times:
the largest resident size of each process, as the kernel counts it (its libraries and data with it).

--llmc adds a contestant that is built aside from llm.c (llmc_step.c says how), without clipping.
--cpu, for a busy machine: one thread each, and the processor time of a step instead, which is what a
run of 3N steps needs more than one of N, divided by 2N.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tests", "torch"))

CASES = {
    "small": dict(layers=6, width=384, heads=6, vocab=65, batch=12, context=64),
    "124m": dict(layers=12, width=768, heads=12, vocab=50257, batch=4, context=64),
}


def configuration(case, steps):
    c = CASES[case]
    data = {"text": "text.txt", "context": c["context"], "split": [1, 0]}
    if case == "124m":
        data = {"tokens": "tokens.bin", "vocab": c["vocab"], "context": c["context"],
                "split": [1, 0]}
    return {
        "seed": 1, "data": data,
        "model": [
            {"embedding": {"dim": c["width"], "positions": True}, "name": "embedding"},
            {"repeat": c["layers"], "name": "h", "layers": [
                {"residual": [{"layernorm": {}}, {"attention": {"heads": c["heads"]}}],
                 "name": "attn"},
                {"residual": [{"layernorm": {}}, {"linear": {"out": 4 * c["width"]}, "name": "fc"},
                              {"gelu": {"approximate": "tanh"}},
                              {"linear": {"out": c["width"]}, "name": "proj"}], "name": "mlp"}]},
            {"layernorm": {}, "name": "ln"},
            {"linear": {"out": "vocab", "bias": False, "tied": "embedding"}, "name": "head"}],
        "loss": "cross_entropy", "optimizer": {"adamw": {"lr": 3e-4, "weight_decay": 0.1}},
        "clip": 1.0, "batch": {"size": c["batch"], "micro": 1}, "steps": steps}


def make_data(folder):
    """Random bytes of 65 kinds and a shard of random tokens, both from a fixed generator."""
    state, letters = 12345, bytearray()
    for _ in range(200000):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        letters.append(32 + (state >> 33) % 65)
    with open(os.path.join(folder, "text.txt"), "wb") as file:
        file.write(bytes(range(32, 97)) + bytes(letters))
    tokens = bytearray()
    for _ in range(50000):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        tokens += ((state >> 33) % 50257).to_bytes(2, "little")
    head = [20240520, 1, 50000] + [0] * 253
    with open(os.path.join(folder, "tokens.bin"), "wb") as file:
        file.write(b"".join(n.to_bytes(4, "little") for n in head) + tokens)


def torch_child(case, steps):
    """Runs in a process of its own: prints the median milliseconds of a step."""
    import torch
    from torch_twin import Twin, make_optimizer

    torch.set_num_threads(1)
    torch.manual_seed(1)
    c, config = CASES[case], configuration(case, steps)
    twin = Twin(config, {"vocab": c["vocab"]}, torch.float32,
                generator=torch.Generator().manual_seed(1))
    x = torch.randint(c["vocab"], (c["batch"], c["context"]))
    y = torch.randint(c["vocab"], (c["batch"], c["context"]))
    twin.forward(x)
    parameters = list(twin.parameters.values())
    optimizer = make_optimizer(config, parameters)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = twin.loss(twin.forward(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, config["clip"])
        optimizer.step()
        loss.item()
        times.append((time.perf_counter() - start) * 1e3)
    print(json.dumps({"ms": statistics.median(times[2:]), "version": torch.__version__}))


def run(command, **options):
    """What the command prints as JSON, with the processor time that it took as "cpu", in ms, and the
    most memory that it held, in MiB."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True,
                                   **options)
        output = process.stdout.read()
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            sys.exit("bench_step.py: %s: %s" % (command[0], errors.read()))
    answer = dict(json.loads(output), cpu=(usage.ru_utime + usage.ru_stime) * 1e3)
    return answer, usage.ru_maxrss / 1024


def run_torch(case, steps, threads):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    environment.update(OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS="1")
    return run([sys.executable, __file__, "--child", case, str(steps)], env=environment)


def run_llmc(program, case, steps, folder, threads):
    return run([program, case, str(steps)], cwd=folder,
               env=dict(os.environ, OMP_NUM_THREADS=str(threads)))


def run_engine(firstbit, case, steps, folder, level, threads):
    config = os.path.join(folder, "config.json")
    with open(config, "w") as file:
        json.dump(configuration(case, steps), file)
    trace = ["--no-trace"] if level == "off" else ["-o", "bench.fbt", "--level", level]
    answer, used = run([firstbit, "train", config, "--threads", str(threads), "--json"] + trace,
                       cwd=folder)
    return dict(answer, ms=answer["step_ms_median"]), used


def run_one(name, options, steps, folder, threads):
    if name == "torch":
        return run_torch(options.case, steps, threads)
    if name == "llm.c":
        return run_llmc(options.llmc, options.case, steps, folder, threads)
    return run_engine(options.firstbit, options.case, steps, folder, name, threads)


def measure(name, options, folder):
    """An answer whose "ms" is a step's, and the most memory in MiB."""
    if not options.cpu:
        return run_one(name, options, options.steps, folder, 2)
    less = run_one(name, options, options.steps, folder, 1)[0]
    answer, used = run_one(name, options, 3 * options.steps, folder, 1)
    return dict(answer, ms=(answer["cpu"] - less["cpu"]) / (2 * options.steps)), used


def main():
    if sys.argv[1:2] == ["--child"]:
        torch_child(sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("firstbit")
    parser.add_argument("--case", choices=sorted(CASES), default="small")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--levels", default="off,steps,draws,ops,sketch",
                        help="of the trace, with commas; off must be among them")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--llmc", metavar="PROGRAM")
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    options.firstbit = os.path.abspath(options.firstbit)
    contestants = ["torch"] + options.levels.split(",")
    if options.llmc:
        options.llmc = os.path.abspath(options.llmc)
        contestants.append("llm.c")
    times = {name: [] for name in contestants}
    memory = {name: 0.0 for name in contestants}
    traced = {}
    with tempfile.TemporaryDirectory() as folder:
        make_data(folder)
        for _ in range(options.rounds):
            for name in contestants:
                answer, used = measure(name, options, folder)
                traced[name] = answer
                times[name].append(answer["ms"])
                memory[name] = max(memory[name], used)
    version = traced["torch"]["version"]
    median = {name: statistics.median(values) for name, values in times.items()}
    for name in contestants[1:]:
        spread = "%.0f-%.0f" % (min(times[name]), max(times[name]))
        if options.json:
            print(json.dumps({"bench": "step", "case": "%s, trace %s" % (options.case, name),
                              "this": round(median[name], 2), "peer": round(median["torch"], 2),
                              "peer_name": "PyTorch " + version, "unit": "ms",
                              "ratio": round(median["torch"] / median[name], 3)}))
            print(json.dumps({"bench": "step", "case": "%s, trace %s, memory" % (options.case, name),
                              "this": round(memory[name], 1), "peer": round(memory["torch"], 1),
                              "peer_name": "PyTorch " + version, "unit": "MiB",
                              "ratio": round(memory["torch"] / memory[name], 3)}))
            continue
        events = int(traced[name].get("events") or 0)
        size = int(traced[name].get("trace_bytes") or 0)
        print("%-5s trace %-5s %8.1f ms (%s)   PyTorch %s %8.1f ms   ratio %.2f   trace off %.3fx   "
              "memory %.0f and %.0f MiB%s"
              % (options.case, name, median[name], spread, version, median["torch"],
                 median["torch"] / median[name], median[name] / median["off"],
                 memory[name], memory["torch"],
                 "   %.1f B/event" % (size / events) if events else ""))


if __name__ == "__main__":
    main()
