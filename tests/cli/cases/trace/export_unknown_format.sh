. "$CASES/prelude.sh"
tiny_trace run.fbt
status firstbit export run.fbt parquet out; ls
