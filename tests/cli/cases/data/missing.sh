. "$CASES/prelude.sh"
tiny_run
rm input.txt; firstbit train run.json; ls
