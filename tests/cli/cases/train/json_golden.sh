. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o run.fbt --json | sed 's/"step_ms_median":[0-9.e-]*/"step_ms_median":MS/; s/"trace_bytes":[0-9]*/"trace_bytes":N/'
