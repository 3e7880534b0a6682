. "$CASES/prelude.sh"
tiny_trace run.fbt; firstbit diff run.fbt run.json
