. "$CASES/prelude.sh"
mkdir folder; firstbit replay folder
