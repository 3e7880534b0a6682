. "$CASES/prelude.sh"
tiny_trace a.fbt
head -c 32 input.txt >key
firstbit share a.fbt -o a.s.fbt >/dev/null
firstbit share a.fbt -o k.s.fbt --key key >/dev/null
for name in a k; do
    firstbit show $name.s.fbt --json | grep -o '"path":"[^"]*"' | sort -u >$name.names
done
echo "$(sort a.names k.names | uniq -d)"
