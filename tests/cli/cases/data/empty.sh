. "$CASES/prelude.sh"
tiny_run
: >input.txt; status firstbit train run.json; ls
