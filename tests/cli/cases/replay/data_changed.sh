. "$CASES/prelude.sh"
tiny_trace run.fbt
echo more >>input.txt; status firstbit replay run.fbt
