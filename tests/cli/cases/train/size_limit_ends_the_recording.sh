. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set steps=400 -o a.fbt --max-size 60K | grep parameters
firstbit train run.json --set steps=400 --no-trace | grep parameters
status firstbit verify a.fbt 2>&1 | sed 's/: [0-9,]* events.*//'
[ "$(stat -c %s a.fbt)" -le 60000 ] && echo within
