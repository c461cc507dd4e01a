#!/usr/bin/env bash
# keep-ptxas-output.sh COMMAND...: runs a compiler and keeps what it says beside the object that it
# makes (OBJECT.ptxas): registers and spills of each kernel, for tests/kernels/cuda/register_test.py.
set -uo pipefail
object=
previous=
for word in "$@"; do
  if [[ $previous == -o ]]; then object=$word; fi
  previous=$word
done
if [[ $object != *.o ]]; then exec "$@"; fi
"$@" 2>"$object.ptxas"
status=$?
grep -vE '^ptxas info|^ *[0-9]+ bytes (stack frame|gmem)|^$' "$object.ptxas" >&2
exit "$status"
