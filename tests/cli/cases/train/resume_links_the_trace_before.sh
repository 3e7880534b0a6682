. "$CASES/prelude.sh"
tiny_trace half.fbt --steps 3
id=$(firstbit info half.fbt --json | sed 's/.*"id":"\([0-9a-f]*\)".*/\1/')
firstbit train run.json -o rest.fbt --resume half.ckpt/step-00000003.safetensors >/dev/null
head -c 8192 rest.fbt | tr -d '\000' | grep -ao '"resumed_from":{[^}]*}' |
    sed "s/$id/ID-OF-HALF/; s/\"checkpoint\":\"[0-9a-f]*\"/\"checkpoint\":HASH/"
echo "kept without its trace:"
mkdir away; mv half.fbt away/
firstbit train run.json -o again.fbt --resume half.ckpt/step-00000003.safetensors >/dev/null
head -c 8192 again.fbt | tr -d '\000' | grep -ao '"resumed_from":{[^}]*}' |
    sed "s/\"checkpoint\":\"[0-9a-f]*\"/\"checkpoint\":HASH/"
