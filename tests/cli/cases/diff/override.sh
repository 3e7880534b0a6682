. "$CASES/prelude.sh"
tiny_run
firstbit train run.json --steps 2 -o a.fbt >/dev/null
firstbit train run.json --steps 2 -o b.fbt --override adam-eps-inside-root >/dev/null
firstbit diff a.fbt b.fbt
