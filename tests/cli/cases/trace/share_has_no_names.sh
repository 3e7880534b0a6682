. "$CASES/prelude.sh"
tiny_trace a.fbt
firstbit share a.fbt -o s.fbt
firstbit verify s.fbt
for word in attn embedding linear adamw cross_entropy input.txt brown quick run.json threads cpu; do
    if firstbit show s.fbt --json | grep -q "$word" || firstbit info s.fbt --json | grep -q "$word" ||
        grep -q -a "$word" s.fbt; then
        echo "$word is still there"
    fi
done
test "$(firstbit show a.fbt --json | grep -o '"hash":"[0-9a-f]*"' | sort | uniq -c | md5sum)" = \
    "$(firstbit show s.fbt --json | grep -o '"hash":"[0-9a-f]*"' | sort | uniq -c | md5sum)" && echo "hashes are kept"
