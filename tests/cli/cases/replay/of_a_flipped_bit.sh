. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit train run.json -o bad.fbt --inject flip:step=3,path=h.1.mlp.fc,slot=out,element=17,bit=2 >/dev/null
status firstbit replay bad.fbt
