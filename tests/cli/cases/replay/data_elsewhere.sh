. "$CASES/prelude.sh"
tiny_trace run.fbt
mkdir other; mv input.txt other/; status firstbit replay run.fbt --data other
