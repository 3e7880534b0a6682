. "$CASES/prelude.sh"
digits
firstbit train conv.json -o conv.fbt; firstbit replay conv.fbt
