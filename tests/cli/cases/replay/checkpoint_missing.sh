. "$CASES/prelude.sh"
tiny_trace run.fbt
mv run.ckpt/step-00000003.safetensors renamed
status firstbit replay run.fbt --from 5
rm renamed
status firstbit replay run.fbt --from 5
