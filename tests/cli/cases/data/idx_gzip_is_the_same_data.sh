. "$CASES/prelude.sh"
digits
firstbit train conv.json --no-trace --json | sed "s/.*\(\"final_hash\":\"[0-9a-f]*\"\).*/\1/"
gzip -n images.idx3 && mv images.idx3.gz images.idx3
firstbit train conv.json --no-trace --json | sed "s/.*\(\"final_hash\":\"[0-9a-f]*\"\).*/\1/"
