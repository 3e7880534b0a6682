. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set "model[3].linear.tied=nothing"
