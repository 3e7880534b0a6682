. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --inject flip:step=3,path=h.1.mlp.fc,slot=out,element=999999,bit=0
