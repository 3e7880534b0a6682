. "$CASES/prelude.sh"
tiny_run
status firstbit train run.json -o run.fbt; ls
