. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --inject flip:step=3,path=h.9.mlp.fc,slot=out,element=0,bit=0
