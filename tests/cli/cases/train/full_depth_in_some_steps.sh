. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o a.fbt --ops-steps 0:1,every=3 >/dev/null
for step in 1 2 3 4 5 6; do
    echo "step $step: $(firstbit show a.fbt --step $step --phase forward --kind tensor --json | wc -l) outputs"
done
