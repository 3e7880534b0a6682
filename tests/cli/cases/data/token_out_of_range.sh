. "$CASES/prelude.sh"
tiny_run
/usr/bin/python3 - <<'PY'
import struct
header = [20240520, 1, 64] + [0] * 253
tokens = [7] * 63 + [900]
open("tokens.bin", "wb").write(struct.pack("<256i", *header) + struct.pack("<64H", *tokens))
PY
sed 's/"text": "input.txt"/"tokens": "tokens.bin", "vocab": 256/' run.json >tokens.json
firstbit train tokens.json
