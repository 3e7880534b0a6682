. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o run.fbt --json | sed "s/.*\(\"final_hash\":\"[0-9a-f]*\"\).*/\1/"
firstbit train run.json --no-trace --json | sed "s/.*\(\"final_hash\":\"[0-9a-f]*\"\).*/\1/"
firstbit train run.json --no-trace --threads 3 --isa ref --json | sed "s/.*\(\"final_hash\":\"[0-9a-f]*\"\).*/\1/"
ls
