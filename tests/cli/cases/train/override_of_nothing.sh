. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --override sgd-nesterov
