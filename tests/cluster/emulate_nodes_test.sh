#!/usr/bin/env bash
# usage: emulate_nodes_test.sh EMULATE_NODES_SH: checks what its --help promises.
set -uo pipefail
emulate=$1
unset SPD_EMULATE_DIR
"$emulate" check || exit $?
folder=$(mktemp -d)
export SPD_EMULATE_DIR=$folder/nodes
trap '"$emulate" down; rm -rf "$folder"' EXIT
failures=0
expect() { # WHAT COMMAND...: the command succeeds
  local what=$1
  shift
  if "$@" >"$folder/log" 2>&1; then return; fi
  echo "FAILED: $what"
  cat "$folder/log"
  failures=$((failures + 1))
}
says() { # REGEX COMMAND...: says so, however it ends
  local regex=$1
  shift
  "$@" >"$folder/said" 2>&1
  grep -qE "$regex" "$folder/said" || { cat "$folder/said"; return 1; }
}
fails() { ! "$@"; }
left() { pgrep -f "sleep 4321$1" >/dev/null; }
connect() { says refused "$emulate" on n1 timeout "$1" bash -c 'exec 3<>/dev/tcp/n2/1'; }
per_node() { "$emulate" run -n "$1" hostname | sort | uniq -c | awk '{printf "%s%s ", $2, $1}'; }

expect "status when nothing is up" says "nothing is up" "$emulate" status
expect "run when nothing is up" says "start them with" "$emulate" run -n 1 true
expect "a wrong number of slots" says "one for each node" "$emulate" up -N 3 --slots 1,2
expect "a rate that is none" fails "$emulate" up --rate fast
expect "nothing is left of it" says "nothing is up" "$emulate" status
expect "up" "$emulate" up -N 2 --slots 3,1 --rate 1gbit
expect "up twice" says "up already" "$emulate" up
expect "status" says "n2 +10.77.0.2 +1 .*1gbit 64kb, up" "$emulate" status
expect "ranks by slots" test "$(per_node 4)" = "n13 n21 "
expect "an exit status" says '^7$' bash -c '"$0" run -n 2 bash -c "exit 7" >/dev/null 2>&1; echo $?' "$emulate"
expect "shared memory of its own" fails says probe \
  bash -c "'$emulate' on n1 touch /dev/shm/probe; '$emulate' on n2 ls /dev/shm; ls /dev/shm"
expect "an unknown node" says 'no node "n9".*head or one of n1 n2' "$emulate" on n9 true
expect "reshaped" "$emulate" shape all 100mbit 32kb
expect "reshaped, in status" says "n1 .*100mbit 32kb" "$emulate" status
expect "counters" says "n1 +[0-9]+ +[0-9]+" "$emulate" counters
expect "peers answer" connect 2
expect "cut" "$emulate" cut n2
expect "silence" fails connect 1
expect "mended" "$emulate" mend n2
expect "peers answer again" connect 2
expect "stall" "$emulate" stall n2
expect "silence again" fails connect 1
expect "mended again" "$emulate" mend n2
expect "the old rate" says "n2 .*100mbit 32kb, up" "$emulate" status
expect "peers answer once more" connect 2

# Another cluster beside it, whose owner is killed.
SPD_EMULATE_DIR=$folder/other setsid "$emulate" once -N 1 -- on n1 sleep 43210 >/dev/null 2>&1 &
owner=$!
disown
for _ in $(seq 100); do
  ! left 0 || break
  sleep 0.1
done
expect "the other cluster runs" left 0
kill -KILL "$owner"
for _ in $(seq 100); do
  left 0 || break
  sleep 0.1
done
expect "nothing outlives its owner" fails left 0
for _ in $(seq 100); do # the folder goes last
  test -e "$folder/other" || break
  sleep 0.1
done
expect "nor is its folder left" fails test -e "$folder/other"

"$emulate" on n2 sleep 43211 &
disown
for _ in $(seq 50); do
  ! left 1 || break
  sleep 0.1
done
expect "something runs" left 1
expect "down" "$emulate" down
expect "everything has ended" fails left 1
expect "the folder is gone" fails test -e "$SPD_EMULATE_DIR"
echo "$failures failed"
exit $((failures > 0))
