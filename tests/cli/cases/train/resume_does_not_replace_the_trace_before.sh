. "$CASES/prelude.sh"
tiny_trace run.fbt --steps 3
firstbit info run.fbt --json >before
status firstbit train run.json -o run.fbt --resume run.ckpt/step-00000003.safetensors
firstbit info run.fbt --json | cmp - before && echo kept
