. "$CASES/prelude.sh"
tiny_trace run.fbt
/usr/bin/python3 -c "
data = bytearray(open(\"run.fbt\", \"rb\").read())
data[4096 + 900] ^= 4
open(\"bad.fbt\", \"wb\").write(data)"
status firstbit verify bad.fbt
