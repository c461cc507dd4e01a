#!/usr/bin/env python3
"""Writes README.md from the *.jsonl beside it; with --check only says whether it is up to date.

A line of a .jsonl is one number: {"study", "title", "case", "ranks"?, "nodes"?, "metric", "unit",
"value" and, where a spread is known, "low", "high", "machine", "commit", "command", "note"?}.
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
FILES = {
    "repairs": "What repairs bring back",
    "plans": "Plans and what they save",
    "links": "How fast ranks talk",
    "one-rank": "One node",
}
INTRODUCTION = """# Results

Made by `scripts/results/render.py` from the `.jsonl` files beside it, one number a line with the
machine, the commit and the command that made it. Models are SmolLM2-135M in bf16; machines are
shared, so read the ratios. NLL and KL in nats a token on WikiText-2 test (4 windows of 512 tokens
where no other number is given), tasks by `spd eval --tasks all`; everything was calibrated and
chosen on other text. `scripts/reproduce.sh` runs the chain from sensitivities to latencies.
"""


def number(value):
    return f"{value:g}"


def cell(record):
    if "low" not in record:
        return number(record["value"])
    spread = f"{number(record['low'])} to {number(record['high'])}"
    return f"{number(record['value'])} ({spread})" if "value" in record else spread


def column(record):
    unit = "" if record["unit"] in ("", "count", "ratio") else f", {record['unit']}"
    return record["metric"].replace("_", " ") + unit


def once(records, key):
    """The values of a key, each once, in order."""
    return list(dict.fromkeys(record[key] for record in records if key in record))


def table(records):
    columns = list(dict.fromkeys(column(record) for record in records))
    rows = {}
    for record in records:
        place = " x ".join(
            part
            for part in (
                f"{record['nodes']} nodes" if record.get("nodes", 1) > 1 else "",
                f"{record['ranks']} ranks" if record.get("ranks", 0) > 1 else "",
            )
            if part
        ).replace(" nodes x ", " nodes, ")
        rows.setdefault((record["case"], place), {})[column(record)] = cell(record)
    lines = ["| case | where | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for (case, place), cells in rows.items():
        lines.append(f"| {case} | {place} | " + " | ".join(cells.get(c, "") for c in columns) + " |")
    return lines


def section(records):
    lines = [f"### {records[0]['title']}", ""]
    lines += table(records)
    lines += [""]
    lines += once(records, "note")
    lines += [
        f"{'; '.join(once(records, 'machine'))}. Commit {', '.join(once(records, 'commit'))}. "
        + "; ".join(f"`{command}`" for command in once(records, "command"))
    ]
    return lines + [""]


def render():
    lines = [INTRODUCTION]
    for name, title in FILES.items():
        lines += [f"## {title}", ""]
        studies = {}
        for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            studies.setdefault(record["study"], []).append(record)
        for records in studies.values():
            lines += section(records)
    return "\n".join(lines)


def main():
    target = FOLDER / "README.md"
    text = render()
    if sys.argv[1:] != ["--check"]:
        target.write_text(text, encoding="utf-8")
        return 0
    if target.read_text(encoding="utf-8") == text:
        return 0
    print("scripts/results/README.md is not what its .jsonl files say: run scripts/results/render.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
