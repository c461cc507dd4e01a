#!/usr/bin/env bash
# usage: same_tokens_test.sh RUN SPD MODEL RANKS NODES PLAN_OPTION...
# A model over processes, started by the words of RUN (inside of head: emulate-nodes.sh run), says
# what it says on virtual ranks. A PLAN_OPTION random:SEED draws levels for all 30 blocks,
# but for the last sync, which has to be full.
set -euo pipefail
read -ra run <<<"$1"
spd=$2 model=$3 ranks=$4 nodes=$5
shift 5
draw() { # SEED: half of the syncs full, a quarter node, a quarter dropped
  awk -v "seed=$1" 'BEGIN {
    OFS = "\n"
    srand(seed)
    for (i = 0; i < 59; ++i) {
      level = rand()
      block = (i % 2 ? "mlp:" : "attn:") int(i / 2)
      if (level < 0.5) print level < 0.25 ? "--drop" : "--node", block
    }
  }'
}
plan=()
for option; do
  case $option in
    random:*) mapfile -t -O "${#plan[@]}" plan < <(draw "${option#*:}") ;;
    *) plan+=("$option") ;;
  esac
done
echo "${plan[@]}"
if [[ ! -e $model/model.safetensors ]]; then
  echo "$model is not there: run scripts/fetch-model.py"
  exit 77
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
generate=("$spd" generate -m "$model" --prompt "Gravity is" --max-new-tokens 12 -t 1)
"${generate[@]}" --virtual-ranks "$ranks" --virtual-nodes "$nodes" --json "$folder/virtual.json" \
  "${plan[@]}" >/dev/null
"${run[@]}" -n "$ranks" "${generate[@]}" --json "$folder/nodes.json" "${plan[@]}" >/dev/null
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
