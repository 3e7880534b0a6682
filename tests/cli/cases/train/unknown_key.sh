. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set optimiser=1
