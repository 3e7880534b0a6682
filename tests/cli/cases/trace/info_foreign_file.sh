. "$CASES/prelude.sh"
tiny_run; firstbit info run.json
