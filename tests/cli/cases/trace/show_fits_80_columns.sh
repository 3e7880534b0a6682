. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit show run.fbt --step 1 --phase loss --stacks | awk 'length > 80'
firstbit show run.fbt | awk 'length > 80'
firstbit show run.fbt | wc -l
