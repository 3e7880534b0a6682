. "$CASES/prelude.sh"
tiny_trace run.fbt
# The last 8 KB are the footer and the end of the last chunk, whose header says what it held.
size=$(wc -c <run.fbt)
head -c $((size - 8192)) run.fbt >cut.fbt
firstbit recover cut.fbt -o whole.fbt
firstbit recover cut.fbt -o whole.fbt --json
firstbit recover run.fbt -o same.fbt && firstbit verify same.fbt
