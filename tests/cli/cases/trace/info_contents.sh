. "$CASES/prelude.sh"
tiny_trace run.fbt
firstbit info run.fbt --contents | grep -v -e '^  environment\.' -e ' kB$' -e ' bytes$'
firstbit info run.fbt --contents --json | keys | grep -v '^header\.'
