. "$CASES/prelude.sh"
tiny_run
rm input.txt; status firstbit train run.json; ls
