. "$CASES/prelude.sh"
tiny_trace run.fbt
sed s/fox/cat/ input.txt >x; mv x input.txt; tiny_trace bad.fbt; status firstbit diff run.fbt bad.fbt
