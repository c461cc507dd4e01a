#!/usr/bin/env bash
# Is a change slower? Two checkouts timed in turn in one run, as ratios.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/bench-check.sh [BEFORE [AFTER]] [--rounds N] [--model DIR] [--json FILE]
Builds both and times spd bench (prefill of 256 tokens, decoding of 32; one rank with all cores, two
virtual ranks of one thread) of each in turn, the order changing from round to round. Prints for each
the medians and the ratio after by before of tokens a second, pair by pair: median, quartiles.
  BEFORE       commit (default: HEAD~1)
  AFTER        commit, or "." for the working tree (default)
  --rounds N   pairs (default 10: about five minutes on two cores)
  --model DIR  default: models/smollm2-135m, made where it is missing
  --json FILE  every figure
Measure on an idle machine: a ratio whose quartiles are on both sides of 1 says nothing.
Environment: SPD_BUILD_ROOT (default: build), SPD_SKIP_SETUP=1 (see scripts/setup.sh)
TEXT
}

commits=()
rounds=10
model=models/smollm2-135m
json=
while (($#)); do
  case $1 in
    --rounds | --model | --json)
      if (($# < 2)); then echo "bench-check.sh: $1 needs a value" >&2; exit 2; fi
      case $1 in --rounds) rounds=$2 ;; --model) model=$2 ;; --json) json=$2 ;; esac
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "bench-check.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
    *) commits+=("$1") ;;
  esac
  shift
done
((${#commits[@]} <= 2)) || { echo "bench-check.sh: two commits at most" >&2; exit 2; }
if ! [[ $rounds =~ ^[1-9][0-9]*$ ]]; then
  echo "bench-check.sh: --rounds $rounds is not a whole number above 0" >&2
  exit 2
fi
before=${commits[0]:-HEAD~1}
after=${commits[1]:-.}
folder=${SPD_BUILD_ROOT:-build}/bench-check

scripts/setup.sh >&2
[[ $model != models/smollm2-135m ]] || scripts/fetch-model.py >&2

# Builds a commit in a worktree of its own, or what is here; prints the program's path.
program_of() { # COMMIT
  local tree=. hash
  if [[ $1 != . ]]; then
    hash=$(git rev-parse --verify --quiet "$1^{commit}") || {
      echo "bench-check.sh: $1 is no commit" >&2
      return 2
    }
    tree=$folder/$hash
    [[ -d $tree ]] || git worktree add --detach "$tree" "$hash" >&2
  fi
  # In their own shells' folders: presets are looked for where cmake is started.
  (cd "$tree" && cmake --preset release -B build/release --log-level=WARNING >&2 &&
    cmake --build build/release --parallel "$(nproc)" --target spd >&2)
  echo "$tree/build/release/runtime/spd"
}

program_before=$(program_of "$before")
program_after=$(program_of "$after")
python3 scripts/bench_ratios.py "$program_before" "$program_after" --model "$model" \
  --rounds "$rounds" ${json:+--json "$json"}
