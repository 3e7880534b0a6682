. "$CASES/prelude.sh"
firstbit replay nowhere.fbt
