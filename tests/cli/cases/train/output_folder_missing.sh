. "$CASES/prelude.sh"
tiny_run
firstbit train run.json -o nowhere/run.fbt; ls
