. "$CASES/prelude.sh"
: >empty.fbt; firstbit verify empty.fbt
