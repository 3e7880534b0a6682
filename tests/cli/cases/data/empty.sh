. "$CASES/prelude.sh"
tiny_run
: >input.txt; firstbit train run.json; ls
