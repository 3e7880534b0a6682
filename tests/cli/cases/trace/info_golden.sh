. "$CASES/prelude.sh"
tiny_trace run.fbt
# What the machine decides is left out.
firstbit info run.fbt | sed '/^environment/,/^configuration/d'
