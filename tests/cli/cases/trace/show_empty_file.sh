. "$CASES/prelude.sh"
: >empty.fbt; firstbit show empty.fbt
