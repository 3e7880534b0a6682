. "$CASES/prelude.sh"
tiny_run
status firstbit train run.json -o /dev/full; ls -l /dev/full | cut -c1
