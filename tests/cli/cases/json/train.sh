. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit train run.json -o x.fbt --json | keys
