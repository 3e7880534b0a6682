. "$CASES/prelude.sh"
tiny_trace run.fbt
size=$(stat -c %s run.fbt); head -c $((size - 4500)) run.fbt >torn.fbt
status firstbit replay torn.fbt --to 3
firstbit replay torn.fbt --to 3 --json | sed 's/.*\("torn":[a-z]*\).*/\1/'
