. "$CASES/prelude.sh"
tiny_run
status firstbit train run.json -o nowhere/run.fbt; ls
