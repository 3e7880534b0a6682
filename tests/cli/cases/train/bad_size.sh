. "$CASES/prelude.sh"
tiny_run
status firstbit train run.json --max-size 5x
status firstbit train run.json --max-size 0
status firstbit train run.json --max-size 99999999999999999999
status firstbit train run.json --level values --values-size M
ls
