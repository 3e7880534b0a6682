. "$CASES/prelude.sh"
tiny_trace run.fbt
timeout 20 firstbit show run.fbt --follow --step 1:2 --phase loss
echo "exit $?"
mkdir folder
timeout 20 firstbit show folder --follow
echo "exit $?"
