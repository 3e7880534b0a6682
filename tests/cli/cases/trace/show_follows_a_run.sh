. "$CASES/prelude.sh"
tiny_run
timeout 60 firstbit show run.fbt --follow --kind scalar >followed 2>said &
firstbit train run.json -o run.fbt --steps 300 >/dev/null
wait $!
echo "exit $?"
firstbit show run.fbt --kind scalar >whole
cmp followed whole && grep -c '^step' followed
