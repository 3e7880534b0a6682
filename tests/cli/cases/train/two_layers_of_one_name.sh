. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set "model[1].layers[1].residual[1].name=ln"
