. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit replay run.fbt --from 2 --to 2 --make "h.1.mlp.fc" -o out; ls out
/usr/bin/python3 -c "
import glob
for name in sorted(glob.glob(\"out/*\")):
    print(open(name, \"rb\").read(6))" | sort -u
