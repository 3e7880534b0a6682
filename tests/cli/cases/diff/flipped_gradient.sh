. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace bad.fbt --inject flip:step=4,micro=1,path=h.0.mlp.proj,slot=grad,element=3,bit=20; status firstbit diff run.fbt bad.fbt
