. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o run.fbt; ls
