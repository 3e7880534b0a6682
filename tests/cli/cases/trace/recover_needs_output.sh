. "$CASES/prelude.sh"
firstbit recover run.fbt
