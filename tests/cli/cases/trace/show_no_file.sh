. "$CASES/prelude.sh"
firstbit show nowhere.fbt
