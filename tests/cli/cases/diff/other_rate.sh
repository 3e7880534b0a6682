. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace bad.fbt --set optimizer.adamw.lr=0.011; status firstbit diff run.fbt bad.fbt
