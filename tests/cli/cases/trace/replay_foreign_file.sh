. "$CASES/prelude.sh"
tiny_run; firstbit replay run.json
