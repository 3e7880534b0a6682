. "$CASES/prelude.sh"
tiny_trace run.fbt
for c in "train run.json -o y.fbt" "replay run.fbt" "diff run.fbt run.fbt" "info run.fbt" "verify run.fbt" "show run.fbt"; do
    firstbit $c --json | /usr/bin/python3 -c "
import json, sys
print({json.loads(line)[\"schema\"] for line in sys.stdin}, sys.argv[1:])" $c
done
