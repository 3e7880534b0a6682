. "$CASES/prelude.sh"
digits
head -c 100 images.idx3 >cut; mv cut images.idx3; firstbit train conv.json; ls
