. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set batch.micro=3
