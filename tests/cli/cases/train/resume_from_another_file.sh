. "$CASES/prelude.sh"
tiny_run
status firstbit train run.json --resume input.txt; ls
