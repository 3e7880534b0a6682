. "$CASES/prelude.sh"
tiny_trace a.fbt --threads 2
tiny_trace b.fbt --threads 1
firstbit digest a.fbt >run.lock
test "$(wc -c <run.lock)" -le 10240 && head -n 2 run.lock
status firstbit diff run.lock b.fbt
status firstbit diff b.fbt run.lock
firstbit digest b.fbt >b.lock
status firstbit diff run.lock b.lock
sed 's/$/\r/' run.lock >crlf.lock
status firstbit diff crlf.lock a.fbt
