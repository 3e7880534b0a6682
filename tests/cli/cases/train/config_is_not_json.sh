. "$CASES/prelude.sh"
tiny_run
echo "{\"seed\": 1," >broken.json; firstbit train broken.json
