. "$CASES/prelude.sh"
tiny_trace run.fbt
mkdir below; mv input.txt below/other.bin; status firstbit replay run.fbt
