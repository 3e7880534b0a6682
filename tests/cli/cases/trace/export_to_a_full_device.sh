. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit export run.fbt jsonl /dev/full
