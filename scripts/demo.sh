#!/usr/bin/env bash
# The main job on a real small model: one prompt on three ranks, with every sync and with half of
# the attention syncs dropped.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
Usage: scripts/demo.sh [PROMPT]
Sets up (Debian 12), builds, makes models/smollm2-135m and completes the prompt twice.
Environment: RANKS (default 3), NEW_TOKENS (default 64),
             DROP (default attn:4-12,22-27: 15 blocks that mind least among those tried at 3 ranks)
TEXT
}
if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage; exit 0; fi

prompt=${1:-Gravity is}
ranks=${RANKS:-3}
drop=${DROP:-attn:4-12,22-27}
build=${SPD_BUILD_ROOT:-build}/release
# shellcheck source=scripts/mpi-env.sh
. scripts/mpi-env.sh

scripts/setup.sh
cmake --preset release -B "$build" --log-level=WARNING
cmake --build "$build" --parallel "$(nproc)" --target spd
scripts/fetch-model.py

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
generate() { # NAME OPTION...
  local name=$1
  shift
  mpirun -n "$ranks" "$build/runtime/spd" generate --model models/smollm2-135m --prompt "$prompt" \
    --max-new-tokens "${NEW_TOKENS:-64}" --json "$results/$name.json" "$@"
}
printf '\n--- every sync, %s ranks\n' "$ranks"
generate full
printf '\n--- %s dropped\n' "$drop"
generate dropped --drop "$drop"

printf '\n'
python3 - "$results" <<'PYTHON'
import json
import pathlib
import sys

print(f"{'':<10} {'ms/token':>9} {'first token (ms)':>17} {'syncs done a pass':>18} {'skipped':>8}")
for name in ("full", "dropped"):
    result = json.loads((pathlib.Path(sys.argv[1]) / f"{name}.json").read_text())
    completion = result["completions"][0]
    syncs = result["syncs"]
    print(f"{name:<10} {completion['tpot_ms']:>9.2f} {completion['ttft_ms']:>17.1f} "
          f"{syncs['full'] + syncs['node']:>18} {syncs['drop']:>8}")
PYTHON
