. "$CASES/prelude.sh"
tiny_trace a.fbt
tiny_trace b.fbt --steps 5
firstbit digest a.fbt >run.lock
status firstbit diff run.lock b.fbt
status firstbit diff run.lock b.fbt --prefix
firstbit digest b.fbt >b.lock
status firstbit diff b.lock a.fbt
