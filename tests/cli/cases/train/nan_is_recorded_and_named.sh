. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o run.fbt --set optimizer.adamw.lr=1e30 --set clip=0 --json | sed 's/.*"first_nonfinite"/"first_nonfinite"/'
firstbit verify run.fbt
