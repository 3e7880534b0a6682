. "$CASES/prelude.sh"
tiny_run
echo hi >input.txt; firstbit train run.json; ls
