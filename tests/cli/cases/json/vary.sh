. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit replay run.fbt --vary --json | keys
firstbit replay run.fbt --vary --json | /usr/bin/python3 -c '
import json, sys
report = json.load(sys.stdin)
print(" ".join(report["rows"][0]))
print(report["verdict"], report["differing"], len(report["rows"]) == report["environments"])'
