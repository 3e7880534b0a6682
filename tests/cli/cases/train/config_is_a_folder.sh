. "$CASES/prelude.sh"
tiny_run
mkdir folder; firstbit train folder
