. "$CASES/prelude.sh"
: >empty.fbt; firstbit info empty.fbt
