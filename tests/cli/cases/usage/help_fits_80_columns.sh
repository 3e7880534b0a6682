for command in $(firstbit --help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p'); do
    firstbit "$command" --help
done | awk 'length > 80'
firstbit --help | awk 'length > 80'
