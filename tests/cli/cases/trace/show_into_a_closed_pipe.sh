. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit show run.fbt | head -n 1
