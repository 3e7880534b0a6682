. "$CASES/prelude.sh"
digits
rm labels.idx1; firstbit train conv.json
