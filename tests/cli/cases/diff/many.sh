. "$CASES/prelude.sh"
for i in 0 1 2 3; do tiny_trace worker$i.fbt; done
status firstbit diff worker?.fbt
tiny_trace worker2.fbt --inject flip:step=3,path=h.1.mlp.fc,slot=out,element=17,bit=2
status firstbit diff worker?.fbt
for i in 1 2 3; do tiny_trace seed$i.fbt --set seed=$i; done
tiny_trace short.fbt --steps 3
status firstbit diff seed?.fbt short.fbt
firstbit diff seed1.fbt worker1.fbt seed2.fbt --json
