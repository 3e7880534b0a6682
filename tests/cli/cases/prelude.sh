# prelude.sh - what cases share: a run that takes milliseconds, and ways to look at what came out.

# run.json and input.txt: a GPT of 8 channels on a short text; 6 steps, 2 micro-batches.
tiny_run() {
    i=0
    while [ $i -lt 40 ]; do
        echo "line $i: the quick brown fox counts to $((i * i)) and jumps"
        i=$((i + 1))
    done >input.txt
    cat >run.json <<'JSON'
{
  "seed": 1,
  "data": {"text": "input.txt", "context": 8},
  "model": [
    {"name": "embedding", "embedding": {"dim": 8, "positions": true}},
    {"repeat": 2, "name": "h", "layers": [
      {"name": "attn", "residual": [
        {"name": "ln", "layernorm": {}}, {"name": "attention", "attention": {"heads": 2, "causal": true}}]},
      {"name": "mlp", "residual": [
        {"name": "ln", "layernorm": {}}, {"name": "fc", "linear": {"out": 16}}, {"name": "gelu", "gelu": {}},
        {"name": "proj", "linear": {"out": 8}}, {"name": "dropout", "dropout": {"p": 0.25}}]}]},
    {"name": "ln", "layernorm": {}},
    {"name": "head", "linear": {"out": "vocab", "bias": false, "tied": "embedding"}}
  ],
  "loss": "cross_entropy",
  "optimizer": {"adamw": {"lr": 0.01}},
  "clip": 1.0,
  "batch": {"size": 4, "micro": 2},
  "steps": 6,
  "eval": {"every": 3, "batches": 2},
  "checkpoint": {"every": 3}
}
JSON
}

# tiny_trace FILE [ARGUMENT]...: records it, quietly.
tiny_trace() {
    [ -e run.json ] || tiny_run
    trace=$1
    shift
    firstbit train run.json -o "$trace" "$@" >/dev/null || exit
}

# keys: the keys of the JSON objects on stdin, one object a line, nested ones with dots.
keys() {
    /usr/bin/python3 -c '
import json, sys
def walk(value, prefix):
    for key, inner in value.items():
        print(prefix + key)
        if isinstance(inner, dict):
            walk(inner, prefix + key + ".")
for line in sys.stdin:
    walk(json.loads(line), "")'
}

# status COMMAND...: runs it and prints its exit status.
status() {
    code=0
    "$@" || code=$?
    echo "exit $code"
}

# digits: conv.json with images and labels as IDX: 12 images of 4x4, classes 0 to 2.
digits() {
    {
        printf '\000\000\010\003\000\000\000\014\000\000\000\004\000\000\000\004'
        i=0
        while [ $i -lt 12 ]; do
            printf 'abcdefgh%08d' $((i * 7919))
            i=$((i + 1))
        done
    } >images.idx3
    printf '\000\000\010\001\000\000\000\014\000\001\002\000\001\002\000\001\002\000\001\002' >labels.idx1
    cat >conv.json <<'JSON'
{
  "seed": 3,
  "data": {"idx": {"images": "images.idx3", "labels": "labels.idx1"}, "split": [0.75, 0.25]},
  "model": [{"conv2d": {"out": 2, "kernel": 3, "padding": 1}}, {"relu": {}}, {"maxpool": {"kernel": 2}},
            {"flatten": {}}, {"linear": {"out": "classes"}}],
  "loss": "cross_entropy",
  "optimizer": {"sgd": {"lr": 0.1, "momentum": 0.9}},
  "batch": {"size": 3},
  "steps": 4
}
JSON
}
