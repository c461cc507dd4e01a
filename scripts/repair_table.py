#!/usr/bin/env python3
"""What each repair brings back, alone and stacked: rise of NLL and KL to the model on a test text, by
number of attention syncs dropped and number of ranks.

Calibrates on wikitext2/valid.txt of --data (or --calibration), reports on wikitext2/test.txt. Results
that are in --out are not made again, and a repair that was interrupted goes on where it was. Prints a
Markdown table.
"""
import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FITS = "grouping,placement,prediction,refit"
METHODS = {"none": "", "grouping": "grouping", "placement": "placement", "prediction": "prediction",
           "prediction, refit": "prediction,refit", "all without training": FITS,
           "distillation": "distillation", "all": FITS + ",distillation"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--calibration", type=pathlib.Path, metavar="FILE",
                        help="text to calibrate on (default: wikitext2/valid.txt; see self-text.py)")
    parser.add_argument("--spd", default=ROOT / "build/release/runtime/spd")
    parser.add_argument("--model", default=ROOT / "models/smollm2-135m")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--nodes", type=int, default=1, help="that they are spread over (default 1)")
    parser.add_argument("--drop", type=int, nargs="+", metavar="N", default=[0],
                        help="attention syncs dropped, those that are least sensitive (default 0: all)")
    parser.add_argument("--sensitivity", metavar="FILE",
                        help="of spd sensitivity, {} being the number of ranks; for --drop")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS),
                        help="rows (default all; the last two train)")
    parser.add_argument("--windows", type=int, default=24, help="to fit on (default 24)")
    parser.add_argument("--held-out", type=int, default=4, help="to choose by (default 4)")
    parser.add_argument("--distill-windows", type=int, default=48,
                        help="to train on, of the rows that do (default 48)")
    parser.add_argument("--test-windows", type=int, default=4, help="to report on (default 4)")
    parser.add_argument("--test-stride", type=int, default=0, metavar="TOKENS",
                        help="from one window to the next (default 0: one behind the other)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "results/repairs")
    parser.add_argument("--table", type=pathlib.Path, help="write the table here, too, when it is whole")
    options = parser.parse_args()
    if any(options.drop) and not options.sensitivity:
        parser.error("--drop needs --sensitivity, to know which")
    return options


def selection(options, ranks, count):
    """The --drop of `count` attention syncs."""
    if not count:
        return "attn:all"
    path = pathlib.Path(options.sensitivity.format(ranks))
    entries = json.loads(path.read_text(encoding="utf-8"))["entries"]
    rises = {entry["block"]: entry["nll_rise_nats"] for entry in entries
             if entry["point"] == "attn" and entry["level"] == "drop" and entry["wire"] == "f32"}
    least = sorted(sorted(rises, key=rises.get)[:count])
    return "attn:" + ",".join(map(str, least))


def run(command):
    print("  " + " ".join(map(str, command)), file=sys.stderr, flush=True)
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def measure(options, ranks, count, method):
    """The JSON of spd eval for one cell, and the seconds that its repair took."""
    name = f"tp{ranks}-{count or 'all'}-{method.replace(', ', '-').replace(' ', '-')}"
    plan, repair, result = (options.out / f"{name}{end}"
                            for end in (".plan.json", ".repair.json", ".json"))
    common = ["-m", options.model, "--virtual-ranks", ranks, "--virtual-nodes", options.nodes]
    drop = ["--drop", selection(options, ranks, count)]
    if METHODS[method] and not repair.exists():
        text = options.calibration or options.data / "wikitext2/valid.txt"
        run([options.spd, "repair", *common, *drop, "--text", text, "--windows", options.windows,
             "--held-out", options.held_out, "--methods", METHODS[method], "--distill-windows",
             options.distill_windows, "--out", plan, "--json", repair])
    if not result.exists():
        run([options.spd, "eval", *common, *(["--plan", plan] if METHODS[method] else drop),
             "--text", options.data / "wikitext2/test.txt", "--limit", options.test_windows,
             *(["--stride", options.test_stride] if options.test_stride else []), "--json", result])
    seconds = 0.0
    if METHODS[method]:
        report = json.loads(repair.read_text())
        seconds = report["seconds"] + report.get("distillation", {"seconds": 0.0})["seconds"]
    return json.loads(result.read_text())["against_baseline"], seconds


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = ["| ranks | attention syncs dropped | repairs | rise of NLL (nats) | KL to the model (nats) "
             "| same likeliest token | repaired in (s) |", "|---|---|---|---|---|---|---|"]
    print("\n".join(lines))
    for ranks in options.ranks:
        for count in options.drop:
            for method in options.methods:
                loss, seconds = measure(options, ranks, count, method)
                lines.append(f"| {ranks} | {count or 'all'} | {method} "
                             f"| {loss['nll_rise_nats']:+.3f} | {loss['kl_nats']:.3f} "
                             f"| {100 * loss['top1_agreement']:.1f} % | {seconds:.0f} |")
                print(lines[-1], flush=True)
    if options.table:
        options.table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
