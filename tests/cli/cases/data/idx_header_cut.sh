. "$CASES/prelude.sh"
digits
head -c 7 images.idx3 >cut; mv cut images.idx3; firstbit train conv.json
