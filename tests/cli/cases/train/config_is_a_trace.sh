. "$CASES/prelude.sh"
tiny_run
tiny_trace run.fbt; firstbit train run.fbt
