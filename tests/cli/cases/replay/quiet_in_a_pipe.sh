. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit replay run.fbt --json 2>&1 >/dev/null
firstbit replay run.fbt --vary 2>&1 >/dev/null
