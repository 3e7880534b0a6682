. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o a.fbt --level values --at 2:3 --path '*.fc.weight:param' >/dev/null
for step in 1 2 3 4; do
    echo "step $step: $(firstbit show a.fbt --step $step --json | grep -c '"contents"') with contents"
done
firstbit verify a.fbt | sed 's/:.*//'
