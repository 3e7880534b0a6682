. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit show run.fbt --step 1:2 --path "h.1.mlp.*"
