. "$CASES/prelude.sh"
tiny_trace run.fbt
tiny_trace other.fbt --threads 3 --isa ref; firstbit diff run.fbt other.fbt
