#!/usr/bin/env python3
"""Prints what scripts/reproduce.sh wrote as two Markdown tables."""
import json
import pathlib
import sys


def load(path):
    return json.loads(path.read_text()) if path.exists() else None


def loss_row(name, result):
    if not result:
        return None
    against = result["against_baseline"]
    return f"| {name} | {against['nll_rise_nats']:+.4f} | {against['kl_nats']:.4f} |"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: reproduce_summary.py DIR")
    folder = pathlib.Path(sys.argv[1])
    print("| all attention syncs dropped | rise of NLL (nats) | KL to the model (nats) |\n|---|---|---|")
    degrees = sorted({path.name.split("-")[0] for path in folder.glob("tp*-*.json")},
                     key=lambda name: int(name[2:]))
    for degree in degrees:
        for what in ("dropped", "repaired"):
            row = loss_row(f"{degree.upper()} {what}", load(folder / f"{degree}-{what}.json"))
            if row:
                print(row)
    print("\n| over 1 Gbit/s | test | variant | median (tokens/s) |\n|---|---|---|---|")
    for degree in degrees:
        bench = load(folder / f"{degree}-bench.json")
        for result in bench["results"] if bench else []:
            print(f"| {degree.upper()} | {result['test']} | {result['variant']} "
                  f"| {result['tokens_per_s']['p50']:.1f} |")


if __name__ == "__main__":
    main()
