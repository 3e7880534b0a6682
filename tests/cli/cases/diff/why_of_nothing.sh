. "$CASES/prelude.sh"
tiny_trace run.fbt
status firstbit why run.fbt h.1.mlp.fx@3
status firstbit why run.fbt h.1.mlp.fc:x@3
status firstbit why run.fbt h.1.mlp.fc@99
status firstbit why run.fbt h.1
status firstbit why run.fbt h.1.mlp.fc@3 --depth x
status firstbit why run.json h.1@3
status firstbit why run.fbt
