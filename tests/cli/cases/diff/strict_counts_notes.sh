. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace more.fbt --set eval.every=2
status firstbit diff run.fbt more.fbt
status firstbit diff run.fbt more.fbt --strict
tiny_trace short.fbt --steps 4
status firstbit diff run.fbt short.fbt run.fbt --prefix
