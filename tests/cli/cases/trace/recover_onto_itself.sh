. "$CASES/prelude.sh"
tiny_trace run.fbt
cp run.fbt copy.fbt; status firstbit recover run.fbt -o run.fbt; cmp run.fbt copy.fbt
