. "$CASES/prelude.sh"
tiny_trace run.fbt
for command in "export run.fbt jsonl -" "show run.fbt" "info run.fbt" "digest run.fbt" "verify run.fbt" "diff run.fbt run.fbt"; do
    firstbit $command 2>err >/dev/full; echo "$? $(wc -l <err)"
done
