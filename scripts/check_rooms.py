#!/usr/bin/env python3
"""Which room includes which: arrows go downwards only. And no type's name stands in two headers.

The linker sees layers (one target a folder); rooms within a layer are seen here alone.
"""

import collections
import pathlib
import re
import sys

# Of each layer, from the top; rooms of one line may not include each other.
FLOORS = {
    "runtime": [["."], ["commands"], ["planning", "distillation"], ["bench", "evaluation", "repair"],
                ["cluster", "inference"], ["report"], ["job"]],
    "model": [["training"], ["."], ["tokenizer", "checkpoint"]],
    "comm": [["bench"], ["."], ["failure"]],
}
INCLUDE = re.compile(r'^\s*#\s*include\s*"((\w+)/.+)"', re.M)
TYPE = re.compile(r"^(?:  )?(?:class|struct|enum class|enum) (\w+)(?: final)?(?: *:[^:].*)? *\{", re.M)


def room_of(path):
    """("runtime", "planning") of runtime/planning/knapsack.h; (layer, ".") of what stands flat."""
    parts = pathlib.PurePath(path).parts
    return parts[0], parts[1] if len(parts) > 2 else "."


def floor_of(layer, room):
    for k, rooms in enumerate(FLOORS[layer]):
        if room in rooms:
            return k
    return None


def main():
    sources = [pathlib.Path(name) for name in sys.argv[1:]]
    bad, types, seen = [], collections.defaultdict(set), set()
    for path in sources:
        layer, room = room_of(path)
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".h" and layer != "tests":
            for line in TYPE.finditer(text):
                if not line.group(0).startswith("  "):
                    types[line.group(1)].add(str(path))
        if layer not in FLOORS:
            continue
        here = floor_of(layer, room)
        if here is None:
            bad.append(f"{path}: {layer}/{room} is no room of scripts/check_rooms.py")
            continue
        for included, other in INCLUDE.findall(text):
            if other != layer:
                continue
            target = room_of(included)[1]
            there = floor_of(layer, target)
            if target != room and (there is None or there <= here):
                bad.append(f"{path} includes {included}: {room} is not above {target}")
            elif target != room:
                seen.add((layer, room, target))
    for name, places in sorted(types.items()):
        if len(places) > 1:
            bad.append(f"type {name} in {', '.join(sorted(places))}")
    print("\n".join(bad) if bad else f"{len(seen)} arrows between rooms, all downwards")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
