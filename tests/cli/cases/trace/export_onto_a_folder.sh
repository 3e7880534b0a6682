. "$CASES/prelude.sh"
tiny_trace run.fbt
mkdir folder; status firstbit export run.fbt jsonl folder
