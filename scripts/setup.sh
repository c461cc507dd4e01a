#!/usr/bin/env bash
# Installs the Debian 12 packages that building, running and testing spd needs.
# Idempotent, asks nothing, and returns at once when everything is there.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: scripts/setup.sh [--lint] [--extras] [--slurm] [--list]
  --lint    also what scripts/lint.sh needs
  --extras  also what only profiling and debugging needs
  --slurm   also Slurm itself, for scripts/emulate-nodes.sh slurm
  --list    print the packages and install nothing
On a system other than Debian or Ubuntu install the equivalents by hand and set
SPD_SKIP_SETUP=1, which makes this script (and those that call it) do nothing.
TEXT
}

packages=(
  # toolchain
  build-essential cmake ninja-build ccache pkg-config git ca-certificates python3 python3-venv
  # communication and the shape of the machine
  openmpi-bin libopenmpi-dev libucx-dev ucx-utils libhwloc-dev iproute2
  # kernels
  libhwy-dev libopenblas-pthread-dev libdnnl-dev
  # model and tokenizers
  nlohmann-json3-dev libpcre2-dev libsentencepiece-dev libutf8proc-dev
  # command line, messages
  libboost-program-options-dev libspdlog-dev libfmt-dev
  # tests and micro-benchmarks
  libgtest-dev libgmock-dev libbenchmark-dev
  # sanitizers
  clang libclang-rt-dev
)
lint_packages=(clang-format clang-tidy shellcheck)
slurm_packages=(slurm-wlm munge)
extra_packages=(gdb linux-perf valgrind)

list=false
for argument in "$@"; do
  case $argument in
    --lint) packages+=("${lint_packages[@]}") ;;
    --extras) packages+=("${extra_packages[@]}") ;;
    --slurm) packages+=("${slurm_packages[@]}") ;;
    --list) list=true ;;
    -h | --help) usage; exit 0 ;;
    *) echo "setup.sh: unknown option $argument" >&2; usage >&2; exit 2 ;;
  esac
done

if $list; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi
if [[ ${SPD_SKIP_SETUP:-} == 1 ]]; then
  echo "setup: skipped (SPD_SKIP_SETUP=1)"
  exit 0
fi
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  {
    echo "setup.sh: this system has no apt. Install the equivalents of these Debian 12 packages,"
    echo "then run with SPD_SKIP_SETUP=1:"
    printf '  %s\n' "${packages[@]}"
  } >&2
  exit 1
fi

# dpkg-query fails when it knows nothing of one of the packages: that is an answer too.
installed=$(dpkg-query --show --showformat='${binary:Package} ${db:Status-Status}\n' \
  "${packages[@]}" 2>/dev/null | sed -n 's/^\([^: ]*\)[^ ]* installed$/\1/p' || true)
missing=()
for package in "${packages[@]}"; do
  grep -qx -- "$package" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${ID:-unknown} ${VERSION_ID:-}")
if [[ $release != "debian 12" ]]; then
  echo "setup: the package names are Debian 12's and this is ${release}: trying all the same" >&2
fi
as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "setup.sh: not root and no sudo. As root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes)
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends "${missing[@]}"
echo "setup: done"
