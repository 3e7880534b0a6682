. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit export run.fbt jsonl out.jsonl && wc -l <out.jsonl && head -n 1 out.jsonl
