#!/usr/bin/env bash
# spd beside llama.cpp: the same weights, the same number of threads, in turn.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
  cat <<'TEXT'
Usage: scripts/peer/bench.sh [--threads T] [--rounds N] [--type bf16|f16] [--json FILE]
Sets up, builds spd, gets SmolLM2-135M, builds llama.cpp for this very processor from the source
package llama-cpp-python of PyPI (once, into build/peer; about 20 minutes on 2 cores), writes the
weights as GGUF, and runs both in turn: a prefill of 512 tokens and the decoding of 128 from an
empty cache. Then two ranks of spd with one thread each beside one. Prints medians and ratios.
  --threads T    threads of either program (default 1)
  --rounds N     times that each program is run (default 5)
  --type TYPE    llama.cpp's weights (default bf16, bit for bit ours; f16: rounded from them)
  --json FILE    the figures of every round
Measure on an idle machine. Environment: SPD_BUILD_ROOT (default: build), SPD_SKIP_SETUP=1
TEXT
}

threads=1 rounds=5 type=bf16 json=
while (($#)); do
  case $1 in
    --threads | --rounds | --type | --json)
      if (($# < 2)); then echo "scripts/peer/bench.sh: $1 needs a value" >&2; exit 2; fi
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "scripts/peer/bench.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done

peer_version=0.3.36
build_root=${SPD_BUILD_ROOT:-build}
peer=$build_root/peer
model=models/smollm2-135m
gguf=$peer/smollm2-135m-$type.gguf
# shellcheck source=scripts/mpi-env.sh
. scripts/mpi-env.sh

build_peer() {
  local stamp=$peer/venv/llama-cpp-python-$peer_version
  [[ -e $stamp ]] && return
  rm -rf "$peer/venv"
  mkdir -p "$peer"
  python3 -m venv "$peer/venv"
  # For this processor, without the parts that only serve other programs.
  CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF \
-DMTMD_BUILD=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF \
-DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF" \
    "$peer/venv/bin/python" -m pip --disable-pip-version-check install --verbose \
    --no-binary llama-cpp-python "llama-cpp-python==$peer_version" >"$peer/build.log" 2>&1 || {
    tail -n 30 "$peer/build.log" >&2
    echo "scripts/peer/bench.sh: llama.cpp was not built; the whole log: $peer/build.log" >&2
    exit 1
  }
  touch "$stamp"
}

scripts/setup.sh
cmake --preset release -B "$build_root/release" --log-level=WARNING
cmake --build "$build_root/release" --parallel "$(nproc)" --target spd
scripts/fetch-model.py
echo "building llama.cpp (llama-cpp-python $peer_version) where it is not there yet"
build_peer
[[ -e $gguf ]] || scripts/peer/hf_to_gguf.py "$model" "$gguf" --type "$type"

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
spd=$build_root/release/runtime/spd
bench=("$spd" bench --model "$model" --repetitions 1 --no-bound)
for ((round = 0; round < rounds; ++round)); do
  printf 'round %d of %d\n' $((round + 1)) "$rounds"
  "${bench[@]}" --threads "$threads" --json "$results/spd.$round.json" >/dev/null
  "$peer/venv/bin/python" scripts/peer/time_peer.py "$gguf" --threads "$threads" \
    >"$results/peer.$round.json" 2>"$results/peer.log" || { cat "$results/peer.log" >&2; exit 1; }
  "${bench[@]}" --prompt-tokens 0 --threads 1 --json "$results/one.$round.json" >/dev/null
  mpirun -n 2 "${bench[@]}" --prompt-tokens 0 --threads 1 --json "$results/two.$round.json" \
    >/dev/null
done
python3 scripts/peer/report.py "$results" --threads "$threads" --type "$type" \
  --peer "llama-cpp-python $peer_version" ${json:+--json "$json"}
