. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit replay run.fbt --from 5
