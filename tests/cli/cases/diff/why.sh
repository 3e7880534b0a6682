. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit why run.fbt h.1.mlp.fc@3
firstbit why run.fbt h.1.mlp.fc.weight:exp_avg@3 --depth 1
firstbit why run.fbt embedding.weight@0 --json
