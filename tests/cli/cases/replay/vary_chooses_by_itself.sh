. "$CASES/prelude.sh"
tiny_trace run.fbt
status firstbit replay run.fbt --vary --threads 2
status firstbit replay run.fbt --vary --isa ref
status firstbit replay run.fbt --vary --make 'ln' -o out
status firstbit replay run.fbt --vary -o out
ls -d out 2>/dev/null
exit 0
