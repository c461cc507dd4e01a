#!/usr/bin/env bash
# Slurm on the emulated nodes that are up: a controller on head, a daemon a node. Called by
# scripts/emulate-nodes.sh slurm, whose --help says what for.
set -euo pipefail
scripts=$(dirname "$(readlink -f "$0")")
state=${SPD_EMULATE_DIR:?run scripts/emulate-nodes.sh slurm}
nodes=$(cat "$state/nodes")
management=10.78.0 # as in emulate-nodes.sh

die() {
  echo "emulate-nodes: slurm: $*" >&2
  exit 1
}
on() { "$scripts/emulate-nodes.sh" on "$@"; }

for program in munged slurmctld slurmd srun; do
  [[ $(PATH=$PATH:/usr/sbin command -v $program) ]] ||
    die "$program is missing: run scripts/setup.sh --slurm"
done
[[ ! -e $state/slurm.conf ]] || die "it is up already"

mkdir -p "$state/slurmctld" "$state/munge"
install -o munge -g munge -m 755 -d "$state/munge"
head -c 128 /dev/urandom >"$state/munge/key"
chown munge:munge "$state/munge/key"
chmod 400 "$state/munge/key"
# One for all nodes: a socket in a folder that all of them see.
on head setpriv --reuid=munge --regid=munge --clear-groups munged --force \
  --key-file="$state/munge/key" --socket="$state/munge/socket" --pid-file="$state/munge/pid" \
  --log-file="$state/munge/log" --seed-file="$state/munge/seed"

{
  cat <<CONF
ClusterName=emulated
SlurmctldHost=head($management.254)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$state/munge/socket
CredType=cred/munge
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SrunPortRange=60001-60999
StateSaveLocation=$state/slurmctld
SlurmdSpoolDir=$state/%n/spool
SlurmctldPidFile=$state/slurmctld/pid
SlurmdPidFile=$state/%n/slurmd.pid
SlurmctldLogFile=$state/slurmctld/log
SlurmdLogFile=$state/%n/slurmd.log
SlurmdParameters=config_overrides
TaskProlog=$state/task-prolog
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=5
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
CONF
  for ((i = 1; i <= nodes; i++)); do
    mkdir -p "$state/n$i/spool"
    # As many processors as ranks may run there; real cores are shared.
    echo "NodeName=n$i NodeAddr=$management.$i State=UNKNOWN RealMemory=1000" \
      "CPUs=$(sed -n "s/^n$i slots=//p" "$state/hostfile")"
  done
} >"$state/slurm.conf"
# The shaped network is the one to measure; as a cluster's own environment would, it says so to UCX.
cat >"$state/task-prolog" <<'PROLOG'
#!/bin/sh
[ "$UCX_NET_DEVICES" ] || echo export UCX_NET_DEVICES=eth0
PROLOG
chmod +x "$state/task-prolog"
# /tmp is one for all nodes here: what Slurm keeps of a job on a node goes where it is the node's.
echo "PMIxCliTmpDirBase=/dev/shm" >"$state/mpi.conf"

on head /usr/sbin/slurmctld -c -f "$state/slurm.conf"
for ((i = 1; i <= nodes; i++)); do on "n$i" /usr/sbin/slurmd -f "$state/slurm.conf" -N "n$i"; done
for ((i = 0; i < 100; i++)); do
  [[ $(on head sinfo --noheader --states=idle --format=%D 2>/dev/null) != "$nodes" ]] || break
  sleep 0.1
done
on head sinfo
