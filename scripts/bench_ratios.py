#!/usr/bin/env python3
"""Times spd bench of two programs in turn and prints ratios. Run by scripts/bench-check.sh."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

LAYOUTS = {
    "1 rank, all cores": ["--threads", str(os.cpu_count())],
    "2 virtual ranks": ["--virtual-ranks", "2", "--threads", "1", "--pin", "0"],
}
WORK = ["--prompt-tokens", "256", "--gen-tokens", "32", "--repetitions", "3", "--no-bound"]


def time_once(program, model, layout):
    """Test -> median tokens a second."""
    with tempfile.TemporaryDirectory() as folder:
        results = pathlib.Path(folder) / "bench.json"
        run = subprocess.run([program, "bench", "--model", model, *WORK, *layout, "--json", results],
                             capture_output=True, text=True, check=False)
        if run.returncode:
            sys.exit(f"{program} bench ended with status {run.returncode}: {run.stderr.strip()}")
        return {result["test"]: result["tokens_per_s"]["p50"]
                for result in json.loads(results.read_text())["results"]}


def quartiles(values):
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()

    programs = {"before": arguments.before, "after": arguments.after}
    rates = {}  # (layout, test) -> {"before": [rounds], "after": [rounds]}
    for k in range(arguments.rounds):
        for which in ("before", "after") if k % 2 else ("after", "before"):
            for layout, options in LAYOUTS.items():
                for test, rate in time_once(programs[which], arguments.model, options).items():
                    rates.setdefault((layout, test), {"before": [], "after": []})[which].append(rate)
        if sys.stderr.isatty():
            print(f"\r  {k + 1} of {arguments.rounds} rounds", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)

    rows = []
    print(f"{'':<19} {'test':<7} {'before':>9} {'after':>9}  tokens/s   ratio after/before (quartiles)")
    for (layout, test), of in rates.items():
        low, middle, high = quartiles([a / b for a, b in zip(of["after"], of["before"])])
        before, after = statistics.median(of["before"]), statistics.median(of["after"])
        print(f"{layout:<19} {test:<7} {before:>9.1f} {after:>9.1f} {'':>11} "
              f"{middle:.3f} ({low:.3f} to {high:.3f})")
        rows.append({"layout": layout, "test": test, "before_tokens_per_s": of["before"],
                     "after_tokens_per_s": of["after"], "ratio": middle, "ratio_low": low,
                     "ratio_high": high})
    if arguments.json:
        arguments.json.write_text(json.dumps(
            {"schema": "spd.bench_check/1", "before": arguments.before, "after": arguments.after,
             "rounds": arguments.rounds, "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
