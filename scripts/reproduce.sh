#!/usr/bin/env bash
# The whole story on one machine: what each sync is worth, what repairs bring back, the plan for a
# slow link, what it costs in tasks and saves in time. Writes results/ and prints a summary.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/reproduce.sh --data DIR [--ranks LIST] [--quick] [--out DIR]
  --data DIR    wikitext2/valid.txt to calibrate and choose on, wikitext2/test.txt to report on, and
                the tasks' *.jsonl (spd eval --help says in which form)
  --ranks LIST  RANKSxNODES, or a number of nodes of one rank (default "2 3 9x3")
  --quick       a few windows and items: minutes instead of hours, and figures that say little
  --out DIR     default results/reproduce
Each step writes a file. One that is there is not made again, and an interrupted step goes on where
it was: run the same command again. seconds.txt says how long each took; on 2 cores it is a matter of
hours, of which tasks are the longest.
Latency is measured over emulated nodes with 1 Gbit/s links, which needs root; elsewhere that step is
left out by name. On few cores the ranks of all nodes share them: read ratios.
TEXT
}

data='' ranks_list='2 3 9x3' out=results/reproduce budgets='1 2 5'
windows=24 test_windows=64 choice_windows=64 sensitivity_windows=4 items=200 repetitions=5
while (($#)); do
  case $1 in
    --data | --ranks | --out)
      if (($# < 2)); then echo "reproduce.sh: $1 needs a value" >&2; exit 2; fi
      case $1 in --data) data=$2 ;; --ranks) ranks_list=$2 ;; --out) out=$2 ;; esac
      shift
      ;;
    --quick)
      windows=6 test_windows=8 choice_windows=8 sensitivity_windows=1 items=10 repetitions=2 budgets=5
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "reproduce.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
for entry in $ranks_list; do
  if [[ ! $entry =~ ^[1-9][0-9]*(x[1-9][0-9]*)?$ ]] || ((${entry%x*} % ${entry#*x})); then
    echo "reproduce.sh: --ranks $entry: not RANKSxNODES, with as many ranks on every node" >&2
    exit 2
  fi
done
for file in wikitext2/valid.txt wikitext2/test.txt; do
  if [[ ! -f $data/$file ]]; then
    echo "reproduce.sh: --data ${data:-(not given)}: no $file there" >&2
    usage >&2
    exit 2
  fi
done

scripts/setup.sh
build=${SPD_BUILD_ROOT:-build}/release
cmake --preset release -B "$build" --log-level=WARNING
cmake --build "$build" --parallel "$(nproc)" --target spd
scripts/fetch-model.py
spd=$build/runtime/spd
model=models/smollm2-135m
valid=$data/wikitext2/valid.txt test=$data/wikitext2/test.txt
mkdir -p "$out"
# shellcheck source=scripts/mpi-env.sh
. scripts/mpi-env.sh

step() { # RESULT COMMAND...: unless the result is there, runs the command and keeps what it prints
  local result=$1 start=$SECONDS
  shift
  if [[ -e $result ]]; then echo "have $result"; return; fi
  echo "--- $result"
  "$@" | tee "${result%.*}.log"
  # The command may write its file as it goes: it is done when it ends well.
  echo "$((SECONDS - start)) ${result##*/}" >>"$out/seconds.txt"
}
# The same for a command that writes its file from the beginning on and goes on from it.
resumed() { # RESULT COMMAND...
  local result=$1
  shift
  step "$result.done" "$@"
  touch "$result.done"
}
over_links() { # COMMAND...: the program on the emulated nodes
  scripts/emulate-nodes.sh once -N "$nodes" --slots $((ranks / nodes)) --rate 1gbit -- run \
    -n "$ranks" "$PWD/$spd" "$@"
}

# Windows of 512 tokens of valid: the first to calibrate on, those behind them to choose by. Those of
# test are spread over the text.
skip=$((windows + 4)) stride=$((512 * 552 / test_windows))
for entry in $ranks_list; do
  ranks=${entry%x*} nodes=${entry#*x} at=$out/tp$entry
  virtual=(-m "$model" --virtual-ranks "$ranks" --virtual-nodes "$nodes")
  judge() { # NAME OPTIONS...: on test
    step "$at-$1.json" "$spd" eval "${virtual[@]}" --text "$test" --limit "$test_windows" \
      --stride "$stride" --json "$at-$1.json" "${@:2}"
  }
  resumed "$at-sensitivity.json" "$spd" sensitivity "${virtual[@]}" --text "$valid" \
    --limit "$sensitivity_windows" --formats int8 --json "$at-sensitivity.json" \
    --plot "$at-sensitivity.svg"
  judge dropped --drop attn:all
  step "$at-repaired.plan.json" "$spd" repair "${virtual[@]}" --text "$valid" \
    --windows "$windows" --drop attn:all --out "$at-repaired.plan.json" --json "$at-repair.json"
  judge repaired --plan "$at-repaired.plan.json"
  if scripts/emulate-nodes.sh check; then
    step "$at-topology.json" over_links topo --json "$PWD/$at-topology.json"
    for budget in $budgets; do
      plan=$at-$budget.plan.json
      step "$plan" "$spd" plan "${virtual[@]}" --topology "$at-topology.json" \
        --sensitivity "$at-sensitivity.json" --max-loss "$budget%" --text "$valid" \
        --skip-windows "$skip" --limit "$choice_windows" --out "$plan" --plot "$at-$budget.svg"
      judge "$budget-percent" --plan "$plan"
      step "$at-$budget-bench.json" over_links bench -m "$PWD/$model" --plan "$PWD/$plan" \
        -r "$repetitions" --json "$PWD/$at-$budget-bench.json"
    done
    step "$at-bench.json" over_links bench -m "$PWD/$model" --plan "$PWD/$at-repaired.plan.json" \
      -r "$repetitions" --json "$PWD/$at-bench.json"
  else
    echo "skipped: $at's plans and times over links"
  fi
  if [[ -f $data/lambada_openai.jsonl ]]; then
    step "$at-tasks.json" "$spd" eval "${virtual[@]}" --tasks all --data "$data" --limit "$items" \
      --plan "$at-repaired.plan.json" --items "$at-items.jsonl" --json "$at-tasks.json"
  fi
done
scripts/reproduce_summary.py "$out" | tee "$out/summary.md"
