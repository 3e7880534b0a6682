. "$CASES/prelude.sh"
tiny_run
mkdir folder; status firstbit train run.json -o folder; ls folder
