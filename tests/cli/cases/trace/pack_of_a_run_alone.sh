. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit pack run.fbt -o packed.fbt
cmp run.fbt packed.fbt && echo equal
status firstbit pack run.fbt -o run.fbt
status firstbit pack packed.fbt --extract -o .
status firstbit pack run.fbt
head -c 20000 run.fbt >torn.fbt
status firstbit pack torn.fbt -o out.fbt
