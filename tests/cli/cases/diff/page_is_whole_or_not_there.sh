. "$CASES/prelude.sh"
tiny_trace run.fbt
echo before >page.html
status firstbit diff run.fbt missing.fbt --html page.html
cat page.html
status firstbit diff run.fbt run.fbt --html no/such/page.html
status firstbit diff run.fbt run.fbt --html /dev/full
mkdir folder
status firstbit diff run.fbt run.fbt --html folder
ls | grep -c part
firstbit digest run.fbt >run.lock
status firstbit diff run.lock run.fbt --html page.html
status firstbit diff run.fbt run.fbt --markdown --json
