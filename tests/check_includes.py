#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when an include points the wrong way, names no file, or closes a cycle.

The layers are those of docs/architecture.md: includes point left.

    base <- kernels <- engine <-.
    base <- tracer  <-----------+- replay <- diff <- cli          recorders -> tracer, base only

Inside a layer that has rooms (folders of its own), includes point left too; see ROOMS.

usage: check_includes.py [ROOT]      prints one line for each wrong include, exit status 1
"""

import os
import re
import sys

# A folder, and the folders whose headers it may include besides its own.
ALLOWED = {
    "base": set(),
    "kernels": {"base"},
    "engine": {"base", "kernels"},
    "tracer": {"base"},
    "recorders": {"base", "tracer"},
    "replay": {"base", "kernels", "engine", "tracer"},
    "diff": {"base", "kernels", "engine", "tracer", "replay"},
    "cli": {"base", "kernels", "engine", "tracer", "replay", "diff"},
    "examples": set(),  # programs of users: public headers only
}

# The rooms of a layer in their order. A file of a room may include what stands directly in the
# layer's folder, its own room and rooms to the left; rooms that are named nowhere stand last.
ROOMS = {
    "engine": ("files", "config", "data"),
    "tracer": ("format", "stack", "record", "read", "tools"),
    "diff": ("read", "align", "judge", "cause", "rounding", "report"),
}

# Public headers live in include/firstbit and belong to a layer each.
PUBLIC = {"status.h": "base", "event.h": "base", "recorder.h": "tracer", "trace.h": "tracer"}

SOURCE = (".c", ".h", ".inc")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def sources(root):
    """Paths of all checked files, relative to root, in a stable order."""
    for folder in sorted(ALLOWED) + ["include"]:
        for at, folders, files in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(files):
                if name.endswith(SOURCE):
                    yield os.path.relpath(os.path.join(at, name), root)


def layer_of(path):
    """The layer that a file belongs to, or None for a public header that no table lists."""
    parts = path.split("/")
    return PUBLIC.get(parts[-1]) if parts[0] == "include" else parts[0]


def resolve(root, includer, name):
    """The file that an include names, relative to root, or None."""
    for path in (name, "include/" + name, os.path.join(os.path.dirname(includer), name)):
        if os.path.isfile(os.path.join(root, path)):
            return os.path.normpath(path)
    return None


def room_of(path):
    """(order, room) of a file inside its layer, or None when it stands directly in the layer."""
    parts = path.split("/")
    rooms = ROOMS.get(parts[0])
    if rooms is None or len(parts) < 3:
        return None
    return (rooms.index(parts[1]) if parts[1] in rooms else len(rooms), parts[1])


def place_of(path):
    """How a message names where a file lives: its layer, and its room if it has one."""
    room = room_of(path)
    return layer_of(path) if room is None else f"{layer_of(path)}/{room[1]}"


def may_enter(includer, included):
    """Whether a file of one room may include a file of another room of the same layer."""
    source, target = room_of(includer), room_of(included)
    return source is None or target is None or source == target or target[0] < source[0]


def may_include(includer, included):
    source, target = layer_of(includer), layer_of(included)
    if source == target and not may_enter(includer, included):
        return False
    if source == "examples":
        return included.startswith("include/") or target == "examples"
    return target == source or target in ALLOWED.get(source, ())


def find_cycle(graph):
    """A list of files that include each other in a circle, or None. No recursion."""
    done = set()
    for start in sorted(graph):
        path, iterators = [start], [iter(sorted(graph[start]))]
        while iterators:
            step = next(iterators[-1], None)
            if step is None:
                done.add(path.pop())
                iterators.pop()
            elif step in path:
                return path[path.index(step):] + [step]
            elif step not in done:
                path.append(step)
                iterators.append(iter(sorted(graph.get(step, ()))))
    return None


def check(root):
    wrong, graph = [], {}
    for path in sources(root):
        graph[path] = set()
        if layer_of(path) is None:
            wrong.append(f"{path}: belongs to no layer; say which in tests/check_includes.py")
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        for name in INCLUDE.findall(text):
            included = resolve(root, path, name)
            if included is None:
                wrong.append(f"{path}: includes \"{name}\", which is not in the repository")
            elif included.split("/")[0] not in ALLOWED and not included.startswith("include/"):
                wrong.append(f"{path}: includes {included}, which is in no layer")
            elif not may_include(path, included):
                wrong.append(f"{path}: {place_of(path)} may not include {included}")
            else:
                graph[path].add(included)
    cycle = find_cycle(graph)
    if cycle is not None:
        wrong.append("cycle: " + " -> ".join(cycle))
    return wrong, len(graph)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    wrong, count = check(os.path.abspath(root))
    for line in wrong:
        print(line)
    if count == 0:
        print("no sources found")
    return 1 if wrong or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
