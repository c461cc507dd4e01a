#!/usr/bin/env bash
# usage: sensitivity_run.sh SPD MODEL_DIR MPIRUN...
# spd sensitivity and spd plan as a user runs them: processes and threads agree, an interrupted run
# goes on where it was, and what cannot be is said. Exits with 77 where the model is not there.
set -euo pipefail
spd=$1 model=$2
shift 2
mpirun=("$@")
[[ -f $model/model.safetensors ]] || { echo "no model in $model: run scripts/fetch-model.py"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
for i in $(seq 60); do echo "The ship number $i left the harbour at dawn and nobody saw it again."; done >"$dir/text"
measure=(sensitivity -m "$model" --text "$dir/text" --limit 2 --batch-tokens 24 --pin 0
  --forms "single,backward" --levels drop --points attn)

same() { # FILE FILE: the same rises within rounding
  python3 - "$@" <<'PY'
import json, sys
a, b = (json.load(open(file)) for file in sys.argv[1:])
assert a["complete"] and b["complete"], "not complete"
assert len(a["entries"]) == len(b["entries"]) == 60, len(a["entries"])
worst = max(abs(x["nll_rise_nats"] - y["nll_rise_nats"]) for x, y in zip(a["entries"], b["entries"]))
assert worst < 1e-5, worst
assert max(abs(x["nll_rise_nats"]) for x in a["entries"]) > 0.01
PY
}

"${mpirun[@]}" -n 2 "$spd" "${measure[@]}" --window 24 --json "$dir/real" --plot "$dir/plot.svg" >/dev/null
"$spd" "${measure[@]}" --window 24 --virtual-ranks 2 --json "$dir/virtual" >/dev/null
same "$dir/real" "$dir/virtual" || fail "processes and threads differ"
grep -q '</svg>' "$dir/plot.svg" || fail "no plot"

# Stopped early, it saves and says so; the same command then finishes with the same result.
"$spd" "${measure[@]}" --window 24 --virtual-ranks 2 --json "$dir/stopped" >"$dir/log" 2>&1 &
job=$!
for _ in $(seq 200); do [[ -f $dir/stopped ]] && break; sleep 0.05; done
sleep 0.5
kill -TERM $job
if wait $job; then fail "an interrupted run ended with status 0"; fi
grep -q 'the same command goes on' "$dir/log" || { cat "$dir/log"; fail "no word of going on"; }
grep -q '"complete": false' "$dir/stopped" || fail "nothing was left to do"
"$spd" "${measure[@]}" --window 24 --virtual-ranks 2 --json "$dir/stopped" >/dev/null
same "$dir/stopped" "$dir/virtual" || fail "resumed run differs"

says() { # REGEX COMMAND...: fails, and says why
  local regex=$1
  shift
  if "$@" >"$dir/log" 2>&1; then fail "succeeded: $*"; fi
  grep -qE "$regex" "$dir/log" || { cat "$dir/log"; fail "does not say $regex"; }
}
echo '{"schema": "spd.topology/1", "ranks_per_node": [2],
  "all_reduce": [{"group": "world", "alpha_us": 100, "us_per_byte": 0.01}]}' >"$dir/topology"
plan=(plan -m "$model" --topology "$dir/topology" --sensitivity "$dir/virtual"
  --prefill-compute-ms 100 --decode-compute-ms 10)
says 'less than one window' "$spd" "${measure[@]}" --window 5000 --virtual-ranks 2
says 'holds sensitivities of another run.*window' "$spd" "${measure[@]}" --window 25 \
  --virtual-ranks 2 --json "$dir/virtual"
says 'was measured on 2 ranks, these are 3' "$spd" "${plan[@]}" --virtual-ranks 3 --max-loss 1% \
  --assume-links
says 'describes nodes of \[2\] ranks' "$spd" "${plan[@]}" --virtual-ranks 3 --max-loss 1%
says 'the best reaches [0-9.]+ ms' "$spd" "${plan[@]}" --virtual-ranks 2 --max-latency 1
says 'max-loss x: not a loss' "$spd" "${plan[@]}" --virtual-ranks 2 --max-loss x
says 'either --max-loss or --max-latency' "$spd" "${plan[@]}" --virtual-ranks 2

# The plan holds its budget on the text it was measured on, and runs. Stopped early, the search
# keeps what was measured; the same command then comes to the same plan.
search=("$spd" "${plan[@]}" --virtual-ranks 2 --text "$dir/text" --window 24 --limit 24 --max-loss)
"${search[@]}" 5% --out "$dir/plan.json" --plot "$dir/front.svg" >"$dir/log"
"${search[@]}" 5% --out "$dir/again.json" >"$dir/log2" 2>&1 &
job=$!
for _ in $(seq 200); do [[ -f $dir/again.json.trials ]] && break; sleep 0.02; done
kill -TERM $job
if wait $job; then fail "an interrupted search ended with status 0"; fi
grep -q 'the same command goes on' "$dir/log2" || { cat "$dir/log2"; fail "no word of going on"; }
"${search[@]}" 5% --out "$dir/again.json" >"$dir/log2"
[[ ! -e $dir/again.json.trials ]] || fail "the trials are still there"
python3 - "$dir/plan.json" "$dir/again.json" <<'PY'
import json, math, sys
plan, again = (json.load(open(file)) for file in sys.argv[1:])
measured = plan["measured"]
assert measured["loss_nats"] < measured["loss_upper_nats"] <= math.log(1.05), measured
assert measured["windows"] == 24 and measured["confidence"] == 0.95, measured
assert plan["levels"]["attn"].count("drop") > 0
assert plan["predicted"]["plan"]["ttft_us"] < plan["predicted"]["full"]["ttft_us"]
assert again["levels"] == plan["levels"] and again["trials"] == plan["trials"], "resumed differs"
PY
grep -q '95 % confidence' "$dir/log" || fail "the report does not say how sure it is"
"${search[@]}" 0.0001% >"$dir/log"
grep -q 'nothing faster than every sync full was found' "$dir/log" || fail "no word of the budget"
"$spd" eval -m "$model" --plan "$dir/plan.json" --text "$dir/text" --window 24 --limit 2 \
  --virtual-ranks 2 >"$dir/log"
grep -q 'rise of NLL' "$dir/log" || fail "the plan does not run"

# With repairs: what the search measured is what its plan loses. Its times can be measured at once.
"${search[@]}" 20% --trials 1 --repair "$dir/text" --repair-windows 8 --check-latency --prompt 64 \
  --gen 4 --out "$dir/repaired.json" >"$dir/log"
grep -q 'computing as it was while these were measured' "$dir/log" || fail "no latency was checked"
[[ $(compgen -G "$dir/repaired.*.safetensors" | wc -l) == 1 && ! -e $dir/repaired.json.repairs ]] || fail "no repairs, or too many"
"$spd" eval -m "$model" --plan "$dir/repaired.json" --text "$dir/text" --window 24 --stride 24 \
  --virtual-ranks 2 --json "$dir/repaired-eval.json" >"$dir/log"
python3 - "$dir/repaired.json" "$dir/repaired-eval.json" <<'PY'
import json, sys
plan, told = (json.load(open(file)) for file in sys.argv[1:])
windows = len(told["window_nll_nats"]) - 1  # the last one is not whole
taken = [told["window_nll_nats"][i * windows // 24] for i in range(24)]
rise = sum(taken) / 24 - plan["measured"]["full_nll_nats"]
assert plan["levels"]["attn"].count("drop") > 3 and "repair" in plan, plan["levels"]
assert abs(rise - plan["measured"]["loss_nats"]) < 1e-4, (rise, plan["measured"])
for variant in ("full", "plan", "no_comm"):
    times = plan["measured"][variant]
    whole = times["ttft_us"] + 3 * times["tpot_us"]
    assert times["tpot_us"] > 0 and abs(times["request_us"] - whole) < 1e-6 * whole, (variant, times)
PY
echo passed
