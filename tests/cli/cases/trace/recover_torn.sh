. "$CASES/prelude.sh"
tiny_trace run.fbt
size=$(stat -c %s run.fbt); head -c $((size - 4500)) run.fbt >torn.fbt
status firstbit recover torn.fbt -o whole.fbt; status firstbit verify whole.fbt; ls
