. "$CASES/prelude.sh"
tiny_trace run.fbt
status firstbit diff run.fbt run.fbt --align 3:3; status firstbit diff run.fbt run.fbt --align 4:3 | head -n 3
status firstbit diff run.fbt run.fbt --align 4:0
status firstbit diff run.fbt run.fbt --align 4
status firstbit diff run.fbt run.fbt --align 40:1
status firstbit diff run.fbt run.fbt --align 1:1 --rounding
status firstbit diff run.fbt run.fbt run.fbt --align 1:1
