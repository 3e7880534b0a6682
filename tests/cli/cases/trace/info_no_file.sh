. "$CASES/prelude.sh"
firstbit info nowhere.fbt
