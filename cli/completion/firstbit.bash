# SPDX-License-Identifier: Apache-2.0
# Completion of firstbit for bash (and for zsh through bashcompinit). It asks the program itself, so
# it knows what the program knows.

_firstbit() {
    local word=${COMP_WORDS[COMP_CWORD]} program=${COMP_WORDS[0]}
    local names

    if [ "$COMP_CWORD" -eq 1 ]; then
        names=$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p')
        COMPREPLY=($(compgen -W "$names help --help --version" -- "$word"))
    elif [ "${COMP_WORDS[1]}" = help ]; then
        names=$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p')
        COMPREPLY=($(compgen -W "$names" -- "$word"))
    elif [[ $word == -* ]]; then
        names=$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null |
            sed -n 's/^  .. *\(--[a-z-]*\).*/\1/p; s/^  -.,* \(--[a-z-]*\).*/\1/p')
        COMPREPLY=($(compgen -W "$names" -- "$word"))
    else
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}

complete -F _firstbit firstbit
