. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit show run.fbt --kind draw --step 3
