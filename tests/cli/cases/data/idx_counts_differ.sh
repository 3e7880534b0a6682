. "$CASES/prelude.sh"
digits
printf "\000\000\010\001\000\000\000\002\000\001" >labels.idx1; firstbit train conv.json
