. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --no-trace --json >/dev/full
