. "$CASES/prelude.sh"
tiny_run
status firstbit train run.json --resume nowhere.ckpt; ls
