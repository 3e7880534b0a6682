. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --set 'model=[{"lineer": {"out": 3}}]'
