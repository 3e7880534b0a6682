. "$CASES/prelude.sh"
tiny_trace a.fbt --steps 2 --set checkpoint.every=2
tiny_trace b.fbt --steps 4 --set checkpoint.every=2 --resume a.ckpt
tiny_trace c.fbt --resume b.ckpt
firstbit info a.fbt | grep '^chain'
firstbit info c.fbt | sed -n '/^chain/,/^contract/p' | grep -v '^contract'
echo renamed; mv b.fbt other.fbt
firstbit info c.fbt | sed -n '/^chain/,/^contract/p' | grep -v '^contract'
echo gone; rm a.fbt
firstbit info c.fbt | sed -n '/^chain/,/^contract/p' | grep -v '^contract'
firstbit info c.fbt --json | /usr/bin/python3 -c '
import json, sys
for link in json.load(sys.stdin)["chain"]:
    print(link["file"], link["found"], link["status"], link["last_step"], link["resumed_step"])'
