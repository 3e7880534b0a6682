. "$CASES/prelude.sh"
tiny_trace run.fbt
size=$(stat -c %s run.fbt)
for cut in 1 512 4096 4097 4500 8191; do
    head -c $((size - cut)) run.fbt >cut.fbt
    firstbit verify cut.fbt 2>&1 | sed -n 's/.*sound up to byte \([0-9]*\) of \([0-9]*\).*/\1 \2/p' |
        awk '$1 > $2 { print "beyond the end: " $0 }'
done
