#!/usr/bin/env bash
# The whole story on one machine: what each sync is worth, what repairs bring back, the plan for a
# slow link, what it costs in tasks and saves in time. Writes results/ and prints a summary.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/reproduce.sh --data DIR [--ranks LIST] [--trained LIST] [--budgets LIST] [--quick]
                            [--out DIR]
  --data DIR    wikitext2/valid.txt to calibrate, choose and train on (its first half, what is behind
                that, and the rest; in turns with what the model writes itself), wikitext2/test.txt to
                report on, and the tasks' *.jsonl (spd eval --help says in which form)
  --ranks LIST  RANKSxNODES, or a number of nodes of one rank (default "2 3 9x3")
  --trained LIST  attention syncs dropped in plans that are trained, 0: all (default 0)
  --budgets LIST  of plans over slow links, in percent of perplexity (default 5)
  --quick       a few windows and items: minutes instead of hours, and figures that say little
  --out DIR     default results/reproduce
Each step writes a file. One that is there is not made again, and an interrupted step goes on where
it was: run the same command again. seconds.txt says how long each took; on 2 cores it is a matter of
hours, of which tasks are the longest.
Latency is measured over emulated nodes with 1 Gbit/s links, which needs root; elsewhere that step is
left out by name. On few cores the ranks of all nodes share them: read ratios.
TEXT
}

data='' ranks_list='2 3 9x3' out=results/reproduce budgets=5 counts=0
texts=384 windows=24 held_out=4 test_windows=32 choice_windows=32 sensitivity_windows=4
distill_windows=48 taught_windows=768 items=400 repetitions=5
while (($#)); do
  case $1 in
    --data | --ranks | --trained | --budgets | --out)
      if (($# < 2)); then echo "reproduce.sh: $1 needs a value" >&2; exit 2; fi
      case $1 in
        --data) data=$2 ;;
        --ranks) ranks_list=$2 ;;
        --trained) counts=$2 ;;
        --budgets) budgets=$2 ;;
        --out) out=$2 ;;
      esac
      shift
      ;;
    --quick)
      texts=64 windows=6 held_out=2 test_windows=8 choice_windows=8 sensitivity_windows=1
      distill_windows=4 taught_windows=8 items=10 repetitions=2 budgets=5 counts=0
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
for number in $counts $budgets; do
  if [[ ! $number =~ ^[0-9]+$ ]]; then
    echo "reproduce.sh: --trained, --budgets: $number is not a number" >&2
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
valid=$data/wikitext2/valid.txt test=$data/wikitext2/test.txt
# Absolute: emulated nodes may not share a working directory.
out=$(realpath -m "$out") spd=$(realpath "$build/runtime/spd") model=$(realpath models/smollm2-135m)
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
    -n "$ranks" "$spd" "$@"
}

# Plans are chosen by 32 windows of 512 tokens of valid that nothing is calibrated or trained on: they
# lie between its characters 500000 and 640000. Those of test are spread over the text.
skip=260 stride=$((512 * 552 / test_windows))
calibration=$out/calibration.txt
step "$calibration" scripts/self-text.py --texts "$texts" --mix "$valid" --until 500000 \
  --spd "$spd" --model "$model" --out "$calibration"
# Trained is on what the calibration leaves of its text, and on more of both kinds. (Simpler text than
# the model writes takes the trained ranks away from what they know.)
step "$out/more.txt" scripts/self-text.py --texts "$texts" --seed 2 --mix "$valid" --skip 640000 \
  --spd "$spd" --model "$model" --out "$out/more.txt"
cat "$calibration" "$out/more.txt" >"$out/training.txt"

for_ranks() { # ENTRY: sets ranks, nodes, at and virtual
  ranks=${1%x*} nodes=${1#*x} at=$out/tp$1
  virtual=(-m "$model" --virtual-ranks "$ranks" --virtual-nodes "$nodes")
}
judge() { # NAME OPTIONS...: on test
  step "$at-$1.json" "$spd" eval "${virtual[@]}" --text "$test" --limit "$test_windows" \
    --stride "$stride" --json "$at-$1.json" "${@:2}"
}

for entry in $ranks_list; do
  for_ranks "$entry"
  resumed "$at-sensitivity.json" "$spd" sensitivity "${virtual[@]}" --text "$calibration" \
    --limit "$sensitivity_windows" --formats int8 --json "$at-sensitivity.json" \
    --plot "$at-sensitivity.svg"
  # Repairs one by one, for half of the attention syncs and for all.
  table=(scripts/repair_table.py --data "$data" --calibration "$calibration" --spd "$spd"
    --model "$model" --ranks "$ranks" --nodes "$nodes" --sensitivity "$at-sensitivity.json"
    --windows "$windows" --held-out "$held_out" --distill-windows "$distill_windows"
    --test-windows "$test_windows" --test-stride "$stride" --out "$out/repairs")
  step "$at-repairs.md" "${table[@]}" --drop 15 0 --table "$at-repairs.md"
  # Those that are to be trained.
  # shellcheck disable=SC2086
  step "$at-repaired.md" "${table[@]}" --drop $counts --methods none "all without training" \
    --table "$at-repaired.md"
  # What a dropped attention sync costs when it is repaired, for plans that are.
  resumed "$at-repaired-sensitivity.json" "$spd" sensitivity "${virtual[@]}" --text "$calibration" \
    --plan "$out/repairs/tp$ranks-all-all-without-training.plan.json" --points attn --levels drop \
    --limit "$sensitivity_windows" --json "$at-repaired-sensitivity.json"
done

# What training on the logits then brings back, and what is left to lose in tasks.
for entry in $ranks_list; do
  for_ranks "$entry"
  for count in $counts; do
    label=${count/#0/all} name=$at-${count/#0/all}
    resumed "$name-taught.plan.json" "$spd" distill "${virtual[@]}" --text "$out/training.txt" \
      --skip-windows $((windows + held_out)) --tokens $((taught_windows * 512)) --epochs 0 \
      --logits 1 --logits-rate 4e-5 \
      --plan "$out/repairs/tp$ranks-$label-all-without-training.plan.json" \
      --out "$name-taught.plan.json" --resume --json "$name-distill.json"
    judge "$label-taught" --plan "$name-taught.plan.json"
    if [[ -f $data/lambada_openai.jsonl ]]; then
      step "$name-tasks.json" "$spd" eval "${virtual[@]}" --tasks all --data "$data" \
        --limit "$items" --plan "$name-taught.plan.json" --items "$name-items.jsonl" \
        --json "$name-tasks.json"
    fi
  done
done

for entry in $ranks_list; do
  for_ranks "$entry"
  if ! scripts/emulate-nodes.sh check; then
    echo "skipped: $at's plans and times over links"
    continue
  fi
  step "$at-topology.json" over_links topo --json "$at-topology.json"
  for budget in $budgets; do
    plan=$at-$budget.plan.json
    step "$plan" "$spd" plan "${virtual[@]}" --topology "$at-topology.json" \
      --sensitivity "$at-sensitivity.json" --sensitivity "$at-repaired-sensitivity.json" \
      --max-loss "$budget%" --text "$valid" --skip-windows "$skip" \
      --limit "$choice_windows" --repair "$calibration" --repair-windows "$windows" \
      --out "$plan" --plot "$at-$budget.svg"
    judge "$budget-percent" --plan "$plan"
    step "$at-$budget-bench.json" over_links bench -m "$model" --plan "$plan" \
      -r "$repetitions" --json "$at-$budget-bench.json"
  done
  for count in $counts; do
    name=$at-${count/#0/all}-taught
    step "$name-bench.json" over_links bench -m "$model" --plan "$name.plan.json" \
      -r "$repetitions" --json "$name-bench.json"
  done
done
scripts/reproduce_summary.py "$out" | tee "$out/summary.md"
