. "$CASES/prelude.sh"
digits
head -c 100 images.idx3 >cut; mv cut images.idx3; status firstbit train conv.json; ls
