#!/usr/bin/env bash
# Fuzzes all that the program reads, and says what was found. The targets: tests/fuzz/*_targets.cpp.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/fuzz.sh [--minutes N | --seconds S] [--target NAME]... [--jobs J] [--build PRESET]
                       [--list]
  --minutes N    of all targets together (by the clock)
  --seconds S    of each target (default 20)
  --target NAME  only this one; may be repeated
  --jobs J       targets at a time (default 2, never more than there are cores)
  --build PRESET fuzz (default: optimised, two to three times the executions) or asan (what
                 scripts/test.sh --asan-fast has built in part)
  --list         the targets' names
What they learn is kept in build/fuzz/corpus/TARGET and is where the next run begins. Inputs that
broke something stay in build/fuzz/findings/TARGET: put a small one into
tests/fuzz/regressions/TARGET when it is mended, and the test fuzz_test goes through it from then on.
Limits: 10 s and 2 GB an input.
Environment: SPD_BUILD_ROOT (default: build), SPD_SKIP_SETUP=1 (see scripts/setup.sh)
TEXT
}

seconds=20
minutes=
jobs=2
preset=fuzz
list=false
chosen=()
while (($#)); do
  case $1 in
    --minutes | --seconds | --target | --jobs | --build)
      if (($# < 2)); then echo "fuzz.sh: $1 needs a value" >&2; exit 2; fi
      case $1 in
        --minutes) minutes=$2 ;;
        --seconds) seconds=$2 ;;
        --jobs) jobs=$2 ;;
        --build) preset=$2 ;;
        --target) chosen+=("$2") ;;
      esac
      shift
      ;;
    --list) list=true ;;
    -h | --help) usage; exit 0 ;;
    *) echo "fuzz.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
for number in "$seconds" "$jobs" "${minutes:-1}"; do
  if ! [[ $number =~ ^[1-9][0-9]*$ ]]; then
    echo "fuzz.sh: $number is not a whole number above 0" >&2
    exit 2
  fi
done
((jobs <= $(nproc))) || jobs=$(nproc)

build_root=${SPD_BUILD_ROOT:-build}
work=$build_root/fuzz
program=$build_root/$preset/tests/fuzz/spd_fuzz
scripts/setup.sh >&2
cmake --preset "$preset" -B "$build_root/$preset" --log-level=WARNING >/dev/null
cmake --build "$build_root/$preset" --parallel "$(nproc)" --target spd_fuzz >&2

# As in scripts/test.sh. What is freed is kept long enough to be recognised, within the limit.
suppressions=$PWD/scripts/sanitizers
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:quarantine_size_mb=64:allocator_may_return_null=1
export LSAN_OPTIONS=suppressions=$suppressions/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TMPDIR=${TMPDIR:-/tmp}

mapfile -t targets < <(SPD_FUZZ_LIST=1 "$program")
if $list; then
  printf '%s\n' "${targets[@]}"
  exit 0
fi
for name in "${chosen[@]}"; do
  if ! printf '%s\n' "${targets[@]}" | grep -qxF -- "$name"; then
    echo "fuzz.sh: no target $name (see --list)" >&2
    exit 2
  fi
done
((${#chosen[@]} == 0)) || targets=("${chosen[@]}")
if [[ $minutes ]]; then
  seconds=$((minutes * 60 * jobs / ${#targets[@]}))
  ((seconds >= 1)) || seconds=1
fi
echo "fuzz: ${#targets[@]} targets, $seconds s each, $jobs at a time"

# Goes on behind a finding until the time is over, so that one does not hide the others.
fuzz() { # TARGET
  local name=$1 corpus=$work/corpus/$1 findings=$work/findings/$1 log=$work/$1.log
  local end=$((SECONDS + seconds)) left known=()
  [[ ! -d tests/fuzz/regressions/$name ]] || known=("tests/fuzz/regressions/$name")
  mkdir -p "$corpus" "$findings" "$work/seeds/$name"
  : >"$log"
  SPD_FUZZ_TARGET=$name SPD_FUZZ_SEEDS=$work/seeds/$name "$program" >>"$log" 2>&1 || return 0
  while left=$((end - SECONDS)) && ((left > 0)); do
    SPD_FUZZ_TARGET=$name "$program" -max_total_time="$left" -timeout=10 -rss_limit_mb=2048 \
      -malloc_limit_mb=2048 -max_len=65536 -artifact_prefix="$findings/" -print_final_stats=1 \
      -reload=0 "$corpus" "$work/seeds/$name" "${known[@]}" >>"$log" 2>&1 && break
    (($(ls "$findings" | wc -l) < 20)) || break
    # A run that ends at once would be started again and again.
    sleep 1
  done
}

sum_of() { # FIELD FILE
  awk -v field="stat::$1:" '$1 == field { sum += $2 } END { print sum + 0 }' "$2"
}

before=$(find "$work/findings" -type f 2>/dev/null | sort || true)
for name in "${targets[@]}"; do
  while (($(jobs -rp | wc -l) >= jobs)); do wait -n || true; done
  fuzz "$name" &
done
wait

: >"$work/results"
printf '\n%-18s %12s %10s %8s  %s\n' target executions exec/s corpus result
failed=0
total=0
for name in "${targets[@]}"; do
  runs=$(sum_of number_of_executed_units "$work/$name.log")
  total=$((total + runs))
  new=$(comm -13 <(echo "$before") <(find "$work/findings" -type f | sort) |
    grep -c "/findings/$name/" || true)
  result=clean
  if ((new > 0)); then
    result="$new findings in $work/findings/$name"
  elif ((runs == 0)); then
    result="did not run: see $work/$name.log"
  fi
  if [[ $result == clean ]]; then
    echo "passed $name" >>"$work/results"
  else
    echo "failed $name: $result" >>"$work/results"
    failed=$((failed + 1))
  fi
  printf '%-18s %12d %10d %8d  %s\n' "$name" "$runs" $((runs / seconds)) \
    "$(find "$work/corpus/$name" -type f | wc -l)" "$result"
done
printf '%-18s %12d\n' all "$total"
if ((failed > 0)); then
  echo "fuzz: $failed of ${#targets[@]} targets failed"
  exit 1
fi
echo "fuzz: nothing found"
