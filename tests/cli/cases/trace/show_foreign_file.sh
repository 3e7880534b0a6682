. "$CASES/prelude.sh"
tiny_run; firstbit show run.json
