. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace short.fbt --steps 4; status firstbit diff run.fbt short.fbt; status firstbit diff --prefix run.fbt short.fbt
