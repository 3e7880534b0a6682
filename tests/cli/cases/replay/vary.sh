. "$CASES/prelude.sh"
tiny_trace run.fbt
# The rows depend on the machine; what stands around them does not.
firstbit replay run.fbt --vary >one; echo "exit $?"
firstbit replay run.fbt --vary >two
cmp one two && echo "the same twice"
head -n 1 one | sed 's/in [0-9]* env/in N env/'
grep -c ' same$' one | awk '$1 >= 7 { print "seven rows or more" }'
sed -n 's/^final  *//p' one
awk 'length > 80' one
