. "$CASES/prelude.sh"
page() { /usr/bin/python3 "$ROOT/tests/diff/check_page.py" "$@"; }
tiny_trace run.fbt
tiny_trace bad.fbt --inject flip:step=3,path=h.1.mlp.fc,slot=out,element=17,bit=2
status firstbit diff run.fbt bad.fbt --html page.html | tail -n 2
page page.html 'Diverged at step 3 in h.1.mlp.fc' bit-flip 'confirmed by replay' 'training loss' \
    "firstbit replay run.fbt --to 3 --make 'h.1.mlp.fc*' -o out/" 'differs ← first' 'median ulps'

# The same for events that only one side has, for other settings, for equal and for cut runs.
tiny_trace draw.fbt --inject draw:step=5,stream=h.0.mlp.dropout
status firstbit diff run.fbt draw.fbt --html page.html >/dev/null
page page.html 'only in b' rng-offset 'one extra draw from stream h.0.mlp.dropout'
tiny_trace rate.fbt --set optimizer.adamw.lr=0.011
status firstbit diff run.fbt rate.fbt --html page.html >/dev/null
page page.html 'Diverged at step 1 in lr' 'optimizer.adamw.lr 0.01 | 0.011' 'How it grows'
status firstbit diff run.fbt run.fbt --html page.html >/dev/null
page page.html 'Same through step 6' 'Configuration, code, data files and environment are equal'
tiny_trace short.fbt --steps 4
status firstbit diff run.fbt short.fbt --html page.html
page page.html Undecidable 'b ends first; equal through step 4'

# Names are text.
cp bad.fbt '"><script>alert(1)<b>.fbt'
status firstbit diff run.fbt '"><script>alert(1)<b>.fbt' --html page.html >/dev/null
page page.html '"><script>alert(1)<b>.fbt'
