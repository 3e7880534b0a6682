. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit info run.fbt
