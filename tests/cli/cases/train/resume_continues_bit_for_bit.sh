. "$CASES/prelude.sh"
tiny_run
final_hash() {
    sed 's/.*\("final_hash":"[0-9a-f]*"\).*/\1/'
}
firstbit train run.json -o whole.fbt --json | final_hash
firstbit train run.json -o half.fbt --steps 3 >/dev/null
ls -d *.ckpt/*
firstbit train run.json -o rest.fbt --resume half.ckpt/step-00000003.safetensors --json | final_hash
