#!/usr/bin/env bash
# usage: ports_test.sh EMULATE_NODES_SH SPD    (inside of head, with 2 nodes of 2 ranks up)
# What ranks listen on: the network that the run was given, or that of --nic, and no other address.
set -euo pipefail
emulate=$1 spd=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/config.json" <<'JSON'
{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64,
 "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4,
 "num_hidden_layers": 2, "vocab_size": 128, "rms_norm_eps": 1e-5, "max_position_embeddings": 64,
 "hidden_act": "silu", "tie_word_embeddings": true, "torch_dtype": "bfloat16"}
JSON
failures=0
sockets() { "$emulate" on n1 ss -Hltnp | awk '/"spd"/ {print $4}'; }
listening() { # NETWORK OPTION...: while ranks are at work
  local network=$1 run found='' i
  shift
  "$emulate" run -n 4 "$spd" bench -m "$folder" --random-weights -r 100000 --prompt-tokens 8 \
    --gen-tokens 8 -t 1 "$@" >"$folder/log" 2>&1 &
  run=$!
  for ((i = 0; i < 200; i++)); do # of each of two ranks: MPI's two, UCX's one, the last
    found=$(sockets)
    (($(wc -l <<<"$found") < 6)) || break
    sleep 0.1
  done
  kill "$run"
  wait "$run" || true
  echo "$network: $(paste -sd' ' <<<"$found")"
  if (($(wc -l <<<"$found") < 6)) || grep -vE "^($network\\.1|\\[::1\\]):[0-9]+$" <<<"$found"; then
    cat "$folder/log"
    echo "FAILED: $network.1 and [::1] were to be listened on, and nothing else"
    failures=$((failures + 1))
  fi
}
listening 10.77.0
listening 10.78.0 --nic 10.78.0.0/24
listening 10.78.0 --nic eth1
said=$("$emulate" run -n 4 "$spd" topo --nic eth7 2>&1) && failures=$((failures + 1))
grep -qF "nic eth7: host n1 has eth0 (10.77.0.0/24), eth1 (10.78.0.0/24)" <<<"$said" || {
  echo "$said"
  failures=$((failures + 1))
}
exit $((failures > 0))
