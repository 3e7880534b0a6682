. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace bad.fbt --inject flip:step=3,path=h.1.mlp.fc,slot=out,element=17,bit=2
cp bad.fbt '`|<b>@you.fbt'
status firstbit diff run.fbt '`|<b>@you.fbt' --markdown
