. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit show run.fbt --step 1 --phase backward | head -n 32
firstbit show run.fbt --step 1 --phase forward --path 'h.0.mlp*' --stacks | grep -v '|' | head -n 9
