. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --inject flip:step=3
