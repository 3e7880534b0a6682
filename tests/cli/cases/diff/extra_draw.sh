. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace bad.fbt --inject draw:step=5,stream=h.0.mlp.dropout; status firstbit diff run.fbt bad.fbt
