. "$CASES/prelude.sh"
mkdir folder; firstbit verify folder
