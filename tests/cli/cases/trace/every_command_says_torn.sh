. "$CASES/prelude.sh"
tiny_trace run.fbt
size=$(stat -c %s run.fbt); head -c $((size - 100)) run.fbt >cut.fbt # without its footer
/usr/bin/python3 -c "
data = bytearray(open(\"run.fbt\", \"rb\").read())
data[4096 + 900] ^= 4
open(\"bad.fbt\", \"wb\").write(data)"
for command in "info" "show --kind scalar" "verify" "replay" "diff run.fbt" "digest"; do
    echo "--- $command"
    firstbit $command cut.fbt 2>&1 | grep -o 'torn' | sort -u
done
echo "--- why"; firstbit why cut.fbt h.0.mlp.fc@1 2>&1 >/dev/null
echo "--- share"; firstbit share cut.fbt -o s.fbt 2>&1 >/dev/null
echo "--- export"; firstbit export cut.fbt jsonl - 2>&1 >/dev/null
echo "--- pack"; status firstbit pack cut.fbt -o p.fbt 2>&1
echo "--- pack of a corrupt one"; status firstbit pack bad.fbt -o p.fbt 2>&1
ls *.fbt
