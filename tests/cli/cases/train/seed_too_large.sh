. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set seed=9007199254740992
