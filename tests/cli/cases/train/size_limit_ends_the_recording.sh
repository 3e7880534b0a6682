. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set steps=400 -o a.fbt --max-size 60K | grep parameters
firstbit train run.json --set steps=400 --no-trace | grep parameters
for size in 16K 30K; do
    firstbit train run.json --set steps=400 -o b.fbt --max-size $size 2>/dev/null >/dev/null
    firstbit show b.fbt --step 1 2>/dev/null | grep -q loss && echo "the beginning is kept"
done
status firstbit verify a.fbt 2>&1 | sed 's/: [0-9,]* events.*//'
[ "$(stat -c %s a.fbt)" -le 60000 ] && echo within
