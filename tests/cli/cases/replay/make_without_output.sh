. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit replay run.fbt --make h.0.attn.ln
