. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o run.fbt --set steps=1000000 >/dev/null 2>&1 &
pid=$!
sleep 1
kill -TERM $pid
code=0
{ wait $pid || code=$?; } 2>/dev/null
echo "exit $code" # 128 + 15: ended by the signal
firstbit verify run.fbt >/dev/null
echo "verify $?"
firstbit replay run.fbt --to 3 >/dev/null
echo "replay $?"
ls
