. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace bad.fbt --inject flip:step=3,path=h.1.mlp.fc,slot=out,element=17,bit=2; firstbit diff run.fbt bad.fbt --json | keys
