. "$CASES/prelude.sh"
tiny_trace a.fbt
tiny_trace b.fbt --inject flip:step=4,path=h.1.mlp.fc,slot=out,element=3,bit=20
firstbit digest a.fbt >run.lock
status firstbit diff run.lock b.fbt
firstbit diff run.lock b.fbt --json
