. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o run.fbt --set steps=1000000 >/dev/null 2>&1 &
pid=$!
while [ ! -e run.fbt ] || [ "$(stat -c %s run.fbt)" -lt 300000 ]; do
    sleep 0.1
done
kill -KILL $pid
{ wait $pid; } 2>/dev/null
firstbit verify run.fbt
echo "verify $?"
firstbit info run.fbt --json | sed 's/.*"status":"\([a-z]*\)".*/\1/'
firstbit replay run.fbt --to 3 >/dev/null
echo "replay $?"
