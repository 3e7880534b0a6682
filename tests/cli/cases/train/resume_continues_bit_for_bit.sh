. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o whole.fbt --json | sed "s/.*\(\"final_hash\":\"[0-9a-f]*\"\).*/\1/"
firstbit train run.json -o half.fbt --steps 3 >/dev/null
ls -d *.ckpt/*
firstbit train run.json -o rest.fbt --resume half.ckpt/step3.safetensors --json | sed "s/.*\(\"final_hash\":\"[0-9a-f]*\"\).*/\1/"
