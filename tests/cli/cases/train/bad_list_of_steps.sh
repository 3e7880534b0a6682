. "$CASES/prelude.sh"
tiny_run
status firstbit train run.json --ops-steps 1:2,x
status firstbit train run.json --level values --at 3:1
ls
