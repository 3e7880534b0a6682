. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace bad.fbt --set seed=2; status firstbit diff run.fbt bad.fbt
