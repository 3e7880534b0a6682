. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit info run.fbt --json | /usr/bin/python3 -c "
import json, sys
print(*json.loads(sys.stdin.readline()), sep=\"\\n\")"
