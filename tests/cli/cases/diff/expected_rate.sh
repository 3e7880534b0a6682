. "$CASES/prelude.sh"
TMPDIR=$PWD/tmp
export TMPDIR
mkdir tmp
tiny_trace run.fbt
tiny_trace rate.fbt --set optimizer.adamw.lr=0.011
status firstbit diff run.fbt rate.fbt --expect optimizer.adamw.lr
tiny_trace bad.fbt --set optimizer.adamw.lr=0.011 --inject flip:step=4,path=h.1.mlp.fc,slot=out,element=17,bit=2
status firstbit diff run.fbt bad.fbt --expect optimizer --html page.html
/usr/bin/python3 "$ROOT/tests/diff/check_page.py" page.html 'Diverged at step 4' 'optimizer.adamw.lr 0.01 | 0.011'
status firstbit diff run.fbt rate.fbt --expect clip | head -n 1
status firstbit diff run.fbt rate.fbt --expect optimizer.adamw.lx
status firstbit diff run.fbt rate.fbt run.fbt --expect clip
ls tmp
