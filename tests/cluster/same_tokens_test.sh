#!/usr/bin/env bash
# usage: same_tokens_test.sh EMULATE_NODES_SH SPD MODEL RANKS NODES PLAN_OPTION...
# (inside of head) A model over emulated nodes says what it says on virtual ranks.
set -euo pipefail
emulate=$1 spd=$2 model=$3 ranks=$4 nodes=$5
shift 5
if [[ ! -e $model/model.safetensors ]]; then
  echo "$model is not there: run scripts/fetch-model.py"
  exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
generate=("$spd" generate -m "$model" --prompt "Gravity is" --max-new-tokens 12 -t 1)
"${generate[@]}" --virtual-ranks "$ranks" --virtual-nodes "$nodes" --json "$folder/virtual.json" \
  "$@" >/dev/null
"$emulate" run -n "$ranks" "${generate[@]}" --json "$folder/nodes.json" "$@" >/dev/null
python3 - "$folder" <<'PYTHON'
import json
import pathlib
import sys

said = {}
for name in ("virtual", "nodes"):
    result = json.loads((pathlib.Path(sys.argv[1]) / f"{name}.json").read_text())
    said[name] = [completion["ids"] for completion in result["completions"]]
    print(f"{name:8} {result['backend']:8} {said[name]}")
sys.exit(said["virtual"] != said["nodes"] or not said["nodes"][0])
PYTHON
