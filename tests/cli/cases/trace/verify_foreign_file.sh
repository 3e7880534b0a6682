. "$CASES/prelude.sh"
tiny_run; firstbit verify run.json
