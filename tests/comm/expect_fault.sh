#!/bin/bash
# usage: expect_fault.sh SECONDS REGEX COMMAND...
# Passes if the command ends non-zero within SECONDS, says REGEX, prints at most one "error:" line,
# and if none of the processes it announced ("rank R is process P") is left.
limit=$1 regex=$2
shift 2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
begin=$(date +%s%N)
timeout --kill-after=5 $((limit + 30)) "$@" >"$log" 2>&1
status=$?
took=$((($(date +%s%N) - begin) / 1000000))
cat "$log"
echo "-- status $status after $took ms"
failed=0
fail() { echo "FAILED: $*"; failed=1; }
[ $status -ne 0 ] || fail "ended with status 0"
[ $took -le $((limit * 1000)) ] || fail "took longer than $limit s"
grep -qE "$regex" "$log" || fail "nothing says: $regex"
[ "$(grep -c '^error:' "$log")" -le 1 ] || fail "too many ranks printed the error"
grep -q 'is process' "$log" || fail "no rank had started"
# The launcher may return a moment before the kernel has removed the last of its children.
for pid in $(grep -oP 'is process \K[0-9]+' "$log"); do
  for _ in $(seq 100); do
    [ -d "/proc/$pid" ] && ! grep -q '^State:.*[ZX]' "/proc/$pid/status" 2>/dev/null || break
    sleep 0.05
  done
  [ -d "/proc/$pid" ] && ! grep -q '^State:.*[ZX]' "/proc/$pid/status" && fail "process $pid is left"
done
exit $failed
