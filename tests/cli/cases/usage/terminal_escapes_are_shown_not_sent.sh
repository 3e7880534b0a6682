firstbit "$(printf '\033[31mred\302\233')"
