. "$CASES/prelude.sh"
tiny_trace bad.fbt --inject flip:step=3,path=h.1.mlp.fc,slot=out,element=17,bit=2
status firstbit replay bad.fbt --vary | sed 's/in [0-9]* of [0-9]* env/in all env/' |
    grep -v '^ \|^threads\|^contract\|^left out\|^trace  *[0-9a-f]*$'
firstbit replay bad.fbt --vary --json | sed 's/.*"first":\({[^}]*}\).*/\1/' | tr , '\n' | grep '"path"'
