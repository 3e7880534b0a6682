. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit replay run.fbt --from 2 --to 2 --make "h.1.mlp.fc" -o out.safetensors
/usr/bin/python3 -c '
import json, struct
data = open("out.safetensors", "rb").read()
header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
print(header.pop("__metadata__")["format"])
for name in header:
    print(name, header[name]["dtype"], header[name]["shape"])'
ls -A | grep -v '^run\|^input\|^out.safetensors$'
status firstbit replay run.fbt --make "h.1.mlp.fc" -o nowhere/out.safetensors
