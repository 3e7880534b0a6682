. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set "model[1].layers[0].residual[1].attention.heads=3"
