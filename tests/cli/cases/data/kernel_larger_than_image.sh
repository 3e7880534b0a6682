. "$CASES/prelude.sh"
digits
firstbit train conv.json --set "model[0].conv2d.kernel=9"
