. "$CASES/prelude.sh"
tiny_run
echo hi >input.txt; status firstbit train run.json; ls
