. "$CASES/prelude.sh"
: >empty.fbt; firstbit replay empty.fbt
