. "$CASES/prelude.sh"
tiny_trace whole.fbt
tiny_trace half.fbt --steps 3
firstbit train run.json -o rest.fbt --resume half.ckpt/step-00000003.safetensors >/dev/null
status firstbit diff whole.fbt rest.fbt
