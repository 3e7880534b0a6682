. "$CASES/prelude.sh"
mkdir folder; firstbit show folder
