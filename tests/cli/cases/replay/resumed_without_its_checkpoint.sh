. "$CASES/prelude.sh"
tiny_trace half.fbt --steps 3
firstbit train run.json -o rest.fbt --resume half.ckpt/step-00000003.safetensors >/dev/null
firstbit replay rest.fbt
rm -r half.ckpt
status firstbit replay rest.fbt
