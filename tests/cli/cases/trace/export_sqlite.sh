. "$CASES/prelude.sh"
tiny_trace run.fbt
if ! firstbit export run.fbt sqlite run.db 2>said && grep -q 'this build has no SQLite' said; then
    [ -e run.db ] && echo "run.db is there"
    echo "equal, or no SQLite"
    exit 0
fi
cat said
/usr/bin/python3 - <<'PY'
import json, sqlite3, subprocess
db = sqlite3.connect("run.db")
one = lambda q: db.execute(q).fetchone()[0]
lines = [json.loads(s) for s in subprocess.run(["firstbit", "show", "run.fbt", "--json"],
         stdout=subprocess.PIPE, text=True).stdout.splitlines()]
rows = list(db.execute("""select event, step, micro, coalesce(path, ''), coalesce(op, ''),
    coalesce(slot, ''), hash from named order by event"""))
want = [tuple(e[k] for k in ("event", "step", "micro", "path", "op", "slot", "hash")) for e in lines]
losses = [r[0] for r in db.execute("""select value from named where slot = 'loss' and
    class = 'scalars' order by event""")]
good = [rows == want, len(rows) == 1957, one("pragma integrity_check") == "ok",
        losses == [e["value"] for e in lines if e["slot"] == "loss" and e["class"] == "scalars"],
        one("select count(*) from inputs") == sum(len(e["inputs"]) for e in lines),
        one("select count(*) from samples") == sum(len(e.get("indices") or []) for e in lines),
        one("select count(*) from steps") == 7]
print("equal, or no SQLite" if all(good) else good)
PY
firstbit export run.fbt sqlite /dev/null 2>said && echo "a device is no database"
ls run.*.part 2>/dev/null
true
