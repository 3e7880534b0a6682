. "$CASES/prelude.sh"
tiny_run
final_hash() {
    sed 's/.*\("final_hash":"[0-9a-f]*"\).*/\1/'
}
firstbit train run.json -o whole.fbt --json --set checkpoint.every=2 | final_hash
firstbit train run.json -o half.fbt --steps 5 --set checkpoint.every=2 >/dev/null
: >half.ckpt/step-00000005.safetensors.tmp123.0
firstbit train run.json -o rest.fbt --resume half.ckpt --json | final_hash
firstbit info rest.fbt | grep '^steps'
mkdir empty
status firstbit train run.json -o none.fbt --resume empty
