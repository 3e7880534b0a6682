. "$CASES/prelude.sh"
tiny_trace run.fbt
rm input.txt; status firstbit replay run.fbt
