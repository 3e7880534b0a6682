. "$CASES/prelude.sh"
tiny_run
rm input.txt; mkdir input.txt; firstbit train run.json
