. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit show run.fbt --step 99 --phase optimizer
