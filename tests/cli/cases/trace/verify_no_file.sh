. "$CASES/prelude.sh"
firstbit verify nowhere.fbt
