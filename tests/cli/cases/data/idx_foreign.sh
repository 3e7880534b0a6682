. "$CASES/prelude.sh"
digits
cp conv.json images.idx3; firstbit train conv.json
