. "$CASES/prelude.sh"
digits
gzip -n images.idx3; head -c 60 images.idx3.gz >images.idx3; rm images.idx3.gz; firstbit train conv.json
