#!/usr/bin/env python3
"""Prints what scripts/reproduce.sh wrote as Markdown tables."""
import json
import math
import pathlib
import sys


def load(path):
    return json.loads(path.read_text()) if path.exists() else None


def count_of(path):
    """Attention syncs dropped: of DEGREE-COUNT-what.json."""
    return path.name.split("-")[1]


def loss_row(name, result):
    against = result["against_baseline"]
    return f"| {name} | {against['nll_rise_nats']:+.4f} | {against['kl_nats']:.4f} |"


def by_budget(folder, degree):
    """(budget in percent, plan, its evaluation on test), smallest budget first."""
    for path in sorted(folder.glob(f"{degree}-*.plan.json"), key=lambda path: path.name):
        budget = path.name[len(degree) + 1:-len(".plan.json")]
        if budget.isdigit():
            yield budget, load(path), load(folder / f"{degree}-{budget}-percent.json")


def percent(nats):
    return f"{100 * math.expm1(nats):+.2f} %"


def budget_rows(folder, degree):
    for budget, plan, test in by_budget(folder, degree):
        levels = plan["levels"]["attn"] + plan["levels"]["mlp"]
        measured = plan["measured"]
        at_most = measured.get("loss_upper_nats", measured["loss_nats"])
        # A plan of every sync full is its own baseline.
        rise = test.get("against_baseline", {"nll_rise_nats": 0.0}) if test else None
        on_test = percent(rise["nll_rise_nats"]) if rise else "-"
        yield (f"| {degree.upper()}, {budget} % | {levels.count('drop')} of {len(levels)} "
               f"| {percent(measured['loss_nats'])} | {percent(at_most)} | {on_test} |")


def task_rows(folder, degree):
    """Mean accuracy of all tasks, by the number of attention syncs dropped."""
    for path in sorted(folder.glob(f"{degree}-*-tasks.json")):
        means = load(path)["mean"]
        for metric in ("acc", "acc_norm"):
            mean = means[metric]
            yield (f"| {degree.upper()}, {count_of(path)} trained, mean {metric} "
                   f"| {100 * mean['baseline']:.1f} | {100 * mean['value']:.1f} "
                   f"| {100 * mean['difference']:+.2f} ± {100 * mean['difference_stderr']:.2f} |")


def repair_table(folder, degree):
    """Both tables of repair_table.py as one: rows by the number of syncs dropped, each once."""
    tables = [path.read_text(encoding="utf-8").splitlines()
              for path in (folder / f"{degree}-repairs.md", folder / f"{degree}-repaired.md")
              if path.exists()]
    if not tables:
        return []

    def dropped(row):
        count = row.split("|")[2].strip()
        return math.inf if count == "all" else int(count)

    rows = dict.fromkeys(row for table in tables for row in table[2:])
    return ["", *tables[0][:2], *sorted(rows, key=dropped)]


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: reproduce_summary.py DIR")
    folder = pathlib.Path(sys.argv[1])
    print("| trained on the logits, attention syncs dropped | rise of NLL (nats) "
          "| KL to the model (nats) |\n|---|---|---|")
    degrees = sorted({path.name.split("-")[0] for path in folder.glob("tp*-*.json")},
                     key=lambda name: [int(number) for number in name[2:].split("x")])
    for degree in degrees:
        for path in sorted(folder.glob(f"{degree}-*-taught.json")):
            print(loss_row(f"{degree.upper()}, {count_of(path)}", load(path)))
    print("\n| tasks | baseline (%) | plan (%) | difference (points) |\n|---|---|---|---|")
    for degree in degrees:
        for row in task_rows(folder, degree):
            print(row)
    for degree in degrees:
        for line in repair_table(folder, degree):
            print(line)
    print("\n| budget (perplexity) | syncs dropped | held-out valid | at most, 95 % | test |\n"
          "|---|---|---|---|---|")
    for degree in degrees:
        for row in budget_rows(folder, degree):
            print(row)
    print("\n| over 1 Gbit/s | test | variant | median (tokens/s) |\n|---|---|---|---|")
    for degree in degrees:
        for path in sorted(folder.glob(f"{degree}-*bench.json")):
            for result in load(path)["results"]:
                print(f"| {path.name[:-len('.json')].upper()} | {result['test']} "
                      f"| {result['variant']} | {result['tokens_per_s']['p50']:.1f} |")


if __name__ == "__main__":
    main()
