#!/usr/bin/env bash
# usage: slurm_topo_test.sh EMULATE_NODES_SH SPD
# Under Slurm on emulated nodes spd measures the shaped link, and a step whose tasks know nothing of
# each other is refused, but not a job's script.
set -euo pipefail
emulate=$1 spd=$2
"$emulate" check || exit $?
for program in munged slurmctld slurmd srun; do
  [[ $(PATH=$PATH:/usr/sbin command -v $program) ]] || {
    echo "skipped: no $program here (scripts/setup.sh --slurm)"
    exit 77
  }
done
folder=$(mktemp -d)
chmod 711 "$folder" # munge has a user of its own
export SPD_EMULATE_DIR=$folder/nodes
trap '"$emulate" down; rm -rf "$folder"' EXIT
"$emulate" up -N 2 --slots 1 --rate 100mbit
"$emulate" slurm
cat >"$folder/job" <<BATCH
#!/usr/bin/env bash
#SBATCH --nodes=2 --ntasks-per-node=1 --output=$folder/out
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
srun --mpi=pmix "$spd" topo --seconds 1 --max-kib 4 --no-algorithms --json "$folder/topo.json" || exit 1
"$spd" topo --virtual-ranks 2 || exit 2
srun --mpi=none "$spd" topo --virtual-ranks 2 && exit 3
exit 0
BATCH
"$emulate" on head sbatch --wait "$folder/job" || { cat "$folder/out"; exit 1; }
cat "$folder/out"
grep -q "^  network *eth0" "$folder/out"
grep -q "the launcher started 2 processes (SLURM_STEP_NUM_TASKS=2 and SLURM_PROCID=" "$folder/out"
python3 - "$folder/topo.json" <<'PYTHON'
import json
import sys

topology = json.load(open(sys.argv[1]))
across = next(link for link in topology["links"] if link["where"] == "across nodes")
rate = across["bandwidth_gb_per_s"] * 8
print(f"{rate:.3f} of 0.1 Gbit/s between the nodes")
sys.exit(not 0.05 < rate < 0.11)  # a burst goes at once, a loaded machine is slower
PYTHON
