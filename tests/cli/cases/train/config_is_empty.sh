. "$CASES/prelude.sh"
tiny_run
: >empty.json; firstbit train empty.json
