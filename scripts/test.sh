#!/usr/bin/env bash
# Sets up, builds and tests. The last line is always "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/test.sh [--all | --fast] [--release] [--asan] [--tsan] [--asan-fast] [--fuzz]
                       [-k REGEX]
  (none), --all  release build and whole suite, then the whole suite under the address and
                 undefined-behaviour sanitizers, then the tests that start threads under the
                 thread sanitizer
  --fast         release build, only the tests labelled "fast"
  --release, --asan, --tsan  only these of the three
  --asan-fast    under the address and undefined-behaviour sanitizers the tests labelled "fast", and
                 every subcommand once
  --fuzz         every fuzz target for 20 s, each a test (scripts/fuzz.sh)
  -k REGEX       only tests whose name matches
Environment: SPD_BUILD_ROOT (default: build), SPD_SKIP_SETUP=1 (see scripts/setup.sh)
TEXT
}

suites=()
filter=()
while (($#)); do
  case $1 in
    --all) suites=(release asan tsan) ;;
    --fast | --release | --asan | --tsan | --asan-fast | --fuzz) suites+=("${1#--}") ;;
    -k)
      if (($# < 2)); then echo "test.sh: -k needs a regular expression" >&2; exit 2; fi
      filter=(-R "$2")
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "test.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

((${#suites[@]})) || suites=(release asan tsan)

build_root=${SPD_BUILD_ROOT:-build}
jobs=$(nproc)
passed=0 failed=0 skipped=0
skipped_names=() failed_names=() times=()

finish() {
  local status=$?
  if ((status != 0 && failed == 0)); then
    failed=1 # set-up or build: no test could say so
    failed_names+=("${phase_name:-start} (see above)")
  fi
  echo
  echo "--- summary"
  ((${#times[@]} == 0)) || printf '%s\n' "${times[@]}"
  ((${#skipped_names[@]} == 0)) || printf 'skipped: %s\n' "${skipped_names[@]}"
  ((${#failed_names[@]} == 0)) || printf 'FAILED: %s\n' "${failed_names[@]}"
  echo "$passed passed, $failed failed, $skipped skipped"
  ((failed == 0)) && exit 0 || exit 1
}
trap finish EXIT

phase() { # NAME COMMAND...: runs it, says so, and keeps the time it took
  phase_name=$1
  shift
  local start=$SECONDS status=0
  echo
  echo "--- $phase_name"
  "$@" || status=$?
  times+=("$(printf '%5d s  %s' $((SECONDS - start)) "$phase_name")")
  return "$status"
}

fetch_model() {
  if ! scripts/fetch-model.py; then
    echo "models/smollm2-135m cannot be had: the tests labelled \"model\" are skipped" >&2
  fi
}

build() { # PRESET [TARGET]...
  local preset=$1
  shift
  cmake --preset "$preset" -B "$build_root/$preset" --log-level=WARNING
  cmake --build "$build_root/$preset" --parallel "$jobs" ${1:+--target "$@"}
}

# Prints "passed|failed|skipped NAME" for each test of a JUnit file.
read_junit() {
  python3 - "$1" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree

for case in tree.parse(sys.argv[1]).getroot().iter("testcase"):
    message = " ".join(node.get("message", "") for node in case.findall("skipped"))
    status = case.get("status")
    if status == "run":
        word = "passed"
    elif status == "disabled" or "SKIP" in message:
        word = "skipped"
    else:  # failed, or could not be run at all
        word = "failed"
    print(word, case.get("name"))
PYTHON
}

run_tests() { # SUITE PRESET CTEST_OPTION...
  local suite=$1 junit=$PWD/$build_root/$2/junit-$1.xml status=0 word name before=$failed
  local directory=$build_root/$2
  shift 2
  rm -f "$junit"
  ctest --test-dir "$directory" --parallel "$jobs" --output-on-failure --output-junit "$junit" \
    "${filter[@]}" "$@" || status=$?
  if [[ -f $junit ]]; then
    while read -r word name; do
      case $word in
        passed) passed=$((passed + 1)) ;;
        failed) failed=$((failed + 1)) failed_names+=("$suite: $name") ;;
        skipped) skipped=$((skipped + 1)) skipped_names+=("$suite: $name") ;;
      esac
    done < <(read_junit "$junit")
  fi
  if ((status != 0 && failed == before)); then
    failed=$((failed + 1))
    failed_names+=("$suite: ctest ended with status $status")
  fi
}

# Each target is a test.
run_fuzz() {
  local results=$build_root/fuzz/results status=0 word name before=$failed
  rm -f "$results"
  scripts/fuzz.sh --seconds 20 --build asan || status=$?
  if [[ -f $results ]]; then
    while read -r word name; do
      case $word in
        passed) passed=$((passed + 1)) ;;
        *) failed=$((failed + 1)) failed_names+=("fuzz: $name") ;;
      esac
    done <"$results"
  fi
  if ((status != 0 && failed == before)); then
    failed=$((failed + 1))
    failed_names+=("fuzz: scripts/fuzz.sh ended with status $status")
  fi
}

# shellcheck source=scripts/mpi-env.sh
. scripts/mpi-env.sh
suppressions=$PWD/scripts/sanitizers
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$suppressions/lsan.supp:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-suppressions=$suppressions/tsan.supp:second_deadlock_stack=1}

phase "set-up" scripts/setup.sh
phase "model" fetch_model
no_tests=--no-tests=$([[ ${#filter[@]} == 0 ]] && echo error || echo ignore)
for suite in "${suites[@]}"; do
  case $suite in
    fast)
      phase "build release" build release
      phase "test fast" run_tests fast release -L fast "$no_tests"
      ;;
    asan-fast)
      phase "build asan" build asan fast_tests spd
      phase "test asan-fast" run_tests asan-fast asan -L "fast|subcommands" "$no_tests"
      ;;
    fuzz)
      phase "fuzz" run_fuzz
      ;;
    tsan)
      # Only tests labelled "threads": under the thread sanitizer the rest has nothing to show.
      phase "build tsan" build tsan threads_tests
      phase "test tsan" run_tests tsan tsan -L threads "$no_tests"
      ;;
    *)
      phase "build $suite" build "$suite"
      phase "test $suite" run_tests "$suite" "$suite" "$no_tests"
      ;;
  esac
done
