#!/usr/bin/env bash
# Checks form: formatting, which layer includes which, scripts, clang-tidy.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/lint.sh [--no-tidy | --changed [COMMIT]] [--no-analyzer] [--no-tests] [--fix]
  (none)              everything, clang-tidy on all sources (those known to be clean are skipped)
  --changed [COMMIT]  clang-tidy only on what differs from COMMIT (default: HEAD)
  --no-analyzer       everything but clang-tidy's static analyzer, half of the time
  --no-tests          clang-tidy does not look at tests/, half of the rest
  --no-tidy           everything but clang-tidy: seconds
  --fix               let clang-format mend the formatting
Environment: SPD_BUILD_ROOT (default: build), whose release/ clang-tidy reads its commands from
TEXT
}

tidy=all
tidy_options=()
base=HEAD
fix=false
while (($#)); do
  case $1 in
    --no-tidy) tidy=none ;;
    --no-analyzer | --no-tests) tidy_options+=("$1") ;;
    --changed)
      tidy=changed
      if [[ ${2:-} && $2 != -* ]]; then base=$2; shift; fi
      ;;
    --fix) fix=true ;;
    -h | --help) usage; exit 0 ;;
    *) echo "lint.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

layers=(kernels comm model runtime)
mapfile -t sources < <(find "${layers[@]}" tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o \
  -name '*.cuh' | sort)
mapfile -t python_files < <(find scripts tests -name '*.py' | sort)
mapfile -t shell_files < <(find scripts tests -name '*.sh' | sort; echo .ci/run)
failures=()

check() { # NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  if "$@"; then
    printf 'ok      %s (%d s)\n' "$name" $((SECONDS - start))
  else
    printf 'FAILED  %s (%d s)\n' "$name" $((SECONDS - start))
    failures+=("$name")
  fi
}

formatting() {
  if $fix; then clang-format -i "${sources[@]}"; fi
  clang-format --dry-run --Werror "${sources[@]}"
}

# A layer includes only itself and what lies below it; the linker sees only part of that.
layer_arrows() {
  local bad=0
  allow() { # WHERE ALLOWED_PREFIX_REGEX
    local where=$1 allowed=$2 found
    found=$(printf '%s\n' "${sources[@]}" | grep -E "^$where/" |
      xargs -r grep -nHE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<](\.|(kernels|comm|model|runtime|tests)/)' |
      grep -vE "include[[:space:]]*[\"<]($allowed)" || true)
    if [[ $found ]]; then
      echo "$where/ may include only $allowed:" >&2
      echo "$found" >&2
      bad=1
    fi
  }
  allow kernels/device 'kernels/device/'
  allow kernels 'kernels/'
  allow comm 'comm/|kernels/device/'
  allow model 'model/|comm/|kernels/'
  allow runtime 'runtime/|model/|comm/|kernels/'
  return "$bad"
}

# std::regex recurses per character: a long line overflows the stack.
no_std_regex() {
  ! printf '%s\n' "${sources[@]}" | grep -v '^tests/' |
    xargs grep -nHE '#[[:space:]]*include[[:space:]]*<regex>|std::(regex|smatch|cmatch)' >&2
}

sizes() { # of files and functions
  scripts/check_sizes.py "${sources[@]}" "${python_files[@]}" "${shell_files[@]}" >&2
}

# Within a layer; and types of one name, of which a program may see either.
rooms() {
  local ours
  mapfile -t ours < <(printf '%s\n' "${sources[@]}" | grep -v '^tests/')
  scripts/check_rooms.py "${ours[@]}" >&2
}

results_page() { # is what its lines say
  scripts/results/render.py --check >&2
}

python_syntax() {
  local cache
  cache=$(mktemp -d)
  PYTHONPYCACHEPREFIX=$cache python3 -m py_compile "${python_files[@]}"
  local status=$?
  rm -rf "$cache"
  return "$status"
}

shell_scripts() {
  if ! command -v shellcheck >/dev/null; then
    echo "shellcheck is not installed (scripts/setup.sh --lint): skipped"
    return 0
  fi
  shellcheck -S warning -x "${shell_files[@]}"
}

clang_tidy() {
  local build=${SPD_BUILD_ROOT:-build}/release
  # Always: the list of sources must be today's.
  cmake --preset release -B "$build" --log-level=WARNING >/dev/null || return 1
  if [[ $tidy == all ]]; then
    scripts/run-tidy.py "${tidy_options[@]}" "$build"
    return
  fi
  local changed
  mapfile -t changed < <({ git diff --name-only --diff-filter=d "$base"
    git ls-files --others --exclude-standard; } | grep '\.cpp$' | sort -u)
  if ((${#changed[@]} == 0)); then
    echo "no source differs from $base"
    return 0
  fi
  scripts/run-tidy.py "${tidy_options[@]}" "$build" "${changed[@]}"
}

check "formatting" formatting
check "layer arrows" layer_arrows
check "no std::regex" no_std_regex
check "sizes" sizes
check "rooms" rooms
check "results' page" results_page
check "python syntax" python_syntax
check "shell scripts" shell_scripts
[[ $tidy == none ]] || check "clang-tidy" clang_tidy
if ((${#failures[@]})); then
  printf 'lint: failed: %s\n' "${failures[@]}"
  exit 1
fi
echo "lint: clean"
