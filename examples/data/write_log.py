#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes lighthouse.txt, the text that examples/gpt.json learns: a lighthouse keeper's log.

Every sentence is made for this project. They follow a small grammar, so that a tiny model has
something to learn within a minute: days count up, weather follows the wind, the lamp is lit at
dusk. The same script always writes the same bytes; it uses no library's random numbers.

usage: write_log.py > lighthouse.txt
"""

DAYS = 200

WINDS = {
    "north": ("cold and clear", ["frost on the rail", "stars until the morning", "ice in the bucket"]),
    "east": ("grey and dry", ["dust on the glass", "a long low swell", "gulls far inland"]),
    "south": ("warm and hazy", ["haze along the coast", "a smell of hay from the land", "a flat sea"]),
    "west": ("wet and loud", ["rain against the glass", "spray over the wall", "a heavy sea"]),
}
STRENGTHS = ["A light wind", "A fair wind", "A strong wind", "Half a gale"]
SHIPS = [
    ("the brig", ["Constance", "Perseverance", "Good Intent"]),
    ("the schooner", ["Marigold", "Swallow", "Two Sisters"]),
    ("the steamer", ["Albion", "Northern Star"]),
    ("the pilot boat", ["Nell"]),
]
CARGOES = ["timber", "slate", "salt", "coal", "barrels of herring", "wool", "nothing that I could see"]
WORKS = [
    ("trimmed the wicks", "They burn evenly now."),
    ("polished the lens", "It throws a cleaner beam."),
    ("wound the clockwork twice", "It keeps its time."),
    ("painted the gallery rail", "The old paint came away in my hand."),
    ("counted the oil", "There is enough until spring."),
    ("mended the signal halyard", "It will hold another winter."),
    ("swept the stairs", "There are one hundred and twelve of them."),
    ("wrote to my sister", "The letter waits for the boat."),
    ("checked the tables twice", "The second sum agreed with the first."),
]
THOUGHTS = [
    "A light that is late is worse than no light, for somebody trusted it.",
    "I write down what I do when I do it, since the evening remembers badly.",
    "Two clocks that agree prove little; two logs that agree prove more.",
    "When the sum is wrong I go back to the first line that is wrong, not the last.",
    "A small error in the morning is a large one by night.",
    "The sea does the same thing every day and is never the same.",
    "If I were to begin this year again I would want it to come out alike.",
]


class Chooser:
    """A linear congruential generator of 64 bits; its upper half chooses."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n

    def of(self, items):
        return items[self.below(len(items))]


def ship(choose):
    kind, names = choose.of(SHIPS)
    return f"{kind} {choose.of(names)}"


def entry(day, choose):
    direction = choose.of(list(WINDS))
    weather, signs = WINDS[direction]
    hour = 4 + choose.below(4)
    lines = [f"Day {day}.", f"{choose.of(STRENGTHS)} from the {direction}, {weather}, with {choose.of(signs)}."]
    if choose.below(3) > 0:
        bound = choose.of(["north", "south"])
        lines.append(f"At noon {ship(choose)} passed, bound {bound} with {choose.of(CARGOES)}.")
    work, result = choose.of(WORKS)
    lines.append(f"I {work}. {result}")
    lines.append(f"I lit the lamp at {hour} and put it out at {12 - hour}.")
    if choose.below(4) == 0:
        lines.append(choose.of(THOUGHTS))
    return " ".join(lines) + "\n"


def main():
    choose = Chooser(2112)
    print("\n".join(entry(day, choose) for day in range(1, DAYS + 1)), end="")


if __name__ == "__main__":
    main()
