. "$CASES/prelude.sh"
tiny_trace a.fbt
firstbit digest a.fbt >run.lock
sed 's/^steps 0 6/steps 0 7/' run.lock >changed.lock
status firstbit diff changed.lock a.fbt
head -n 12 run.lock >cut.lock
status firstbit diff a.fbt cut.lock
{ cat run.lock; head -c 12000 /dev/zero; } >long.lock
status firstbit diff a.fbt long.lock
status firstbit digest run.lock
