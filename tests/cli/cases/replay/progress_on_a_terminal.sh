. "$CASES/prelude.sh"
tiny_trace run.fbt
# What script(1) calls a terminal. The first step is always shown.
script -qec "firstbit replay run.fbt" /dev/null </dev/null | tr '\r' '\n' | grep -o 'step 1 of 6  0:00 left$'
script -qec "firstbit replay run.fbt --vary" /dev/null </dev/null | tr '\r' '\n' |
    grep -o 'environment 1 of [0-9]*  step 1 of 6  0:00 left in this one$' | sed 's/of [0-9]*  step/of N  step/'
