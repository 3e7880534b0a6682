. "$CASES/prelude.sh"
tiny_run; status firstbit recover run.json -o out.fbt; ls
