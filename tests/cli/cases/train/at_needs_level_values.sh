. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --at 3
