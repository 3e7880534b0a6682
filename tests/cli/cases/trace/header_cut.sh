. "$CASES/prelude.sh"
tiny_trace run.fbt
head -c 40 run.fbt >cut.fbt; for c in info show verify replay; do status firstbit $c cut.fbt; done
