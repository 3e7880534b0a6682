. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit replay run.fbt --threads 3 --isa ref
