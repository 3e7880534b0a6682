. "$CASES/prelude.sh"
tiny_trace run.fbt
ulimit -f 4
status firstbit export run.fbt jsonl out.jsonl 2>&1
status firstbit export run.fbt sqlite out.db 2>&1
status firstbit diff run.fbt run.fbt --strict --html out.html 2>&1
status firstbit share run.fbt -o out.fbt 2>&1
status firstbit recover run.fbt -o out.fbt 2>&1
status firstbit pack run.fbt -o out.fbt 2>&1
ls
