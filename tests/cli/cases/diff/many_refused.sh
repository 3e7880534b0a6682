. "$CASES/prelude.sh"
tiny_trace run.fbt
status firstbit diff run.fbt run.fbt run.fbt --html page.html
status firstbit diff run.fbt run.fbt run.fbt --markdown
status firstbit diff run.fbt missing.fbt run.fbt
firstbit digest run.fbt >run.lock
status firstbit diff run.lock run.fbt run.fbt
