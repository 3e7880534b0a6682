. "$CASES/prelude.sh"
mkdir folder; firstbit info folder
