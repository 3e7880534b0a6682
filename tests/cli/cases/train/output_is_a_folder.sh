. "$CASES/prelude.sh"
tiny_run
mkdir folder; firstbit train run.json -o folder; ls folder
