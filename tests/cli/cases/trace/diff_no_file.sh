. "$CASES/prelude.sh"
tiny_trace run.fbt; firstbit diff nowhere.fbt run.fbt
