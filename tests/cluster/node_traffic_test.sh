#!/usr/bin/env bash
# usage: node_traffic_test.sh EMULATE_NODES_SH SPD    (inside of head, with 2 nodes of 2 ranks up)
# Level "node" keeps a sync off the wire: what the nodes' interfaces counted agrees with what bench
# says that it sent, and half of the syncs at level "node" send half as much.
set -euo pipefail
emulate=$1 spd=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/config.json" <<'JSON'
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 256,
 "intermediate_size": 512, "num_attention_heads": 8, "num_key_value_heads": 4,
 "num_hidden_layers": 4, "vocab_size": 512, "rms_norm_eps": 1e-5, "max_position_embeddings": 512,
 "hidden_act": "silu", "tie_word_embeddings": true, "torch_dtype": "bfloat16"}
JSON
sent_by_interfaces() { "$emulate" counters | awk 'NR > 1 { sum += $3 } END { print sum }'; }
measure() { # NAME OPTION...
  local name=$1 before
  shift
  before=$(sent_by_interfaces)
  "$emulate" run -n 4 "$spd" bench -m "$folder" --random-weights --prompt-tokens 256 \
    --gen-tokens 0 -r 8 --warmup 2 --against none --no-bound -t 1 --json "$folder/$name.json" "$@" \
    >"$folder/log" || { cat "$folder/log"; exit 1; }
  echo $(($(sent_by_interfaces) - before)) >"$folder/$name.bytes"
}
measure full
measure node --node attn:all
measure nothing --node attn:all --node mlp:all # but for the last, which is always full
python3 - "$folder" <<'PYTHON'
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
runs = 10  # repetitions and warm-up
payload = 256 * 256 * 4  # tokens, hidden size, f32: crosses once each way
wire, told = {}, {}
for name in ("full", "node", "nothing"):
    result = json.loads((folder / f"{name}.json").read_text())["results"][0]
    wire[name] = int((folder / f"{name}.bytes").read_text()) / runs
    told[name] = result["sent_cross_bytes"]
    print(f"{name:8} a pass: {told[name]:9.0f} bytes across nodes by bench, "
          f"{wire[name]:9.0f} by the interfaces")
failed = []
def expect(what, value, low, high):
    if not low <= value <= high:
        failed.append(f"{what}: {value:.3f} is not within [{low}, {high}]")
# 8 syncs, 4 of them of attention; each payload crosses to each of the two nodes once.
expect("saved by level node, told", (told["full"] - told["node"]) / (4 * 2 * payload), 0.999, 1.001)
expect("saved but one, told", (told["full"] - told["nothing"]) / (7 * 2 * payload), 0.999, 1.001)
# Frames have headers, and receivers acknowledge.
for name in ("full", "node"):
    expect(f"{name}: interfaces over told", wire[name] / told[name], 1.0, 1.1)
expect("saved on the wire over saved by the plan",
       (wire["full"] - wire["node"]) / (told["full"] - told["node"]), 1.0, 1.1)
print("\n".join(failed) or "the wire carried what the plans said")
sys.exit(bool(failed))
PYTHON
