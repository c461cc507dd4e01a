#!/usr/bin/env bash
# The whole story on one machine: what each sync is worth, what repairs bring back, the plan for a
# slow link, what it costs in tasks and saves in time. Writes results/ and prints a summary.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/reproduce.sh --data DIR [--ranks LIST] [--quick] [--out DIR]
  --data DIR    wikitext2/valid.txt to calibrate on, wikitext2/test.txt to report on, and the tasks'
                *.jsonl (spd eval --help says in which form)
  --ranks LIST  tensor-parallel degrees, one rank a node (default "2 3")
  --quick       a few windows and items: minutes instead of an hour, and figures that say little
  --out DIR     default results/reproduce; a step whose result is there is not run again
Latency is measured over emulated nodes with 1 Gbit/s links, which needs root; elsewhere that step is
left out by name. On few cores the ranks of all nodes share them: read ratios.
TEXT
}

data='' ranks_list='2 3' out=results/reproduce
windows=24 test_windows=16 sensitivity_windows=3 items=200 repetitions=5
while (($#)); do
  case $1 in
    --data | --ranks | --out)
      if (($# < 2)); then echo "reproduce.sh: $1 needs a value" >&2; exit 2; fi
      case $1 in --data) data=$2 ;; --ranks) ranks_list=$2 ;; --out) out=$2 ;; esac
      shift
      ;;
    --quick) windows=6 test_windows=4 sensitivity_windows=1 items=10 repetitions=2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "reproduce.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
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
  echo "$((SECONDS - start)) ${result##*/}" >>"$out/seconds.txt"
}

for ranks in $ranks_list; do
  at=$out/tp$ranks
  virtual=(-m "$model" --virtual-ranks "$ranks" --virtual-nodes "$ranks")
  step "$at-sensitivity.json" "$spd" sensitivity "${virtual[@]}" --text "$valid" \
    --limit "$sensitivity_windows" --formats int8 --json "$at-sensitivity.json" \
    --plot "$at-sensitivity.svg"
  step "$at-dropped.json" "$spd" eval "${virtual[@]}" --text "$test" --limit "$test_windows" \
    --drop attn:all --json "$at-dropped.json"
  step "$at-repaired.plan.json" "$spd" repair "${virtual[@]}" --text "$valid" \
    --windows "$windows" --drop attn:all --out "$at-repaired.plan.json" --json "$at-repair.json"
  step "$at-repaired.json" "$spd" eval "${virtual[@]}" --text "$test" --limit "$test_windows" \
    --plan "$at-repaired.plan.json" --json "$at-repaired.json"
  if [[ -f $data/lambada_openai.jsonl ]]; then
    step "$at-tasks.json" "$spd" eval "${virtual[@]}" --tasks all --data "$data" --limit "$items" \
      --plan "$at-repaired.plan.json" --json "$at-tasks.json"
  fi
  if scripts/emulate-nodes.sh check; then
    step "$at-bench.json" scripts/emulate-nodes.sh once -N "$ranks" --slots 1 --rate 1gbit -- run \
      -n "$ranks" "$PWD/$spd" bench -m "$PWD/$model" --plan "$PWD/$at-repaired.plan.json" \
      -r "$repetitions" --json "$PWD/$at-bench.json"
  else
    echo "skipped: $at-bench.json"
  fi
done
scripts/reproduce_summary.py "$out" | tee "$out/summary.md"
