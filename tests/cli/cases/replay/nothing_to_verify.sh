. "$CASES/prelude.sh"
tiny_trace run.fbt
head -c 4096 run.fbt >cut.fbt
firstbit replay cut.fbt
echo "exit $?"
firstbit replay cut.fbt --json
echo "exit $?"
