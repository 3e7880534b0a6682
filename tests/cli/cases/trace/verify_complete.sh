. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit verify run.fbt
