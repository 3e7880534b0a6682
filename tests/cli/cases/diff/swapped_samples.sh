. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace bad.fbt --inject swap:step=4,i=0,j=1; status firstbit diff run.fbt bad.fbt
