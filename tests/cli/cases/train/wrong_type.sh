. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set optimizer.adamw.lr=fast
