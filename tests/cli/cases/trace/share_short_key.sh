. "$CASES/prelude.sh"
tiny_trace a.fbt
echo short >key
firstbit share a.fbt -o s.fbt --key key
echo "exit $?"
firstbit share a.fbt -o a.fbt
echo "exit $?"
firstbit share a.fbt
echo "exit $?"
ls
