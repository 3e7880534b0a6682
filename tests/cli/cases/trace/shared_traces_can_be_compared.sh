. "$CASES/prelude.sh"
tiny_trace a.fbt
tiny_trace b.fbt --inject flip:step=4,path=h.1.mlp.fc,slot=out,element=3,bit=20
head -c 32 input.txt >key
for name in a b; do
    firstbit share $name.fbt -o $name.s.fbt --key key >/dev/null
done
firstbit share a.fbt -o again.fbt --key key >/dev/null
status firstbit diff a.s.fbt again.fbt
status firstbit diff a.s.fbt b.s.fbt
