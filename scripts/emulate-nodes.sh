#!/usr/bin/env bash
# Several emulated hosts on this one machine: multi-node runs without a cluster.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: scripts/emulate-nodes.sh VERB ...
Each emulated node is a set of Linux namespaces with a host name, network, /dev/shm, boot id and
cores of its own. MPI, UCX and Slurm take them for separate machines. Two networks join them: eth0
for the ranks' messages, which is the one that is shaped, cut and counted, and eth1 for the
launcher's. Files are those of this machine. Needs root, and a kernel that lets it make namespaces.

  up [-N NODES] [--slots S[,S...]] [--rate RATE [--burst BYTES]] [--share-cores]
                          start nodes n1..nN (default 2) and head, where mpirun runs. --slots: ranks
                          a node, one number for all or one for each (default 2). --rate: speed of
                          every link, e.g. 1gbit (default: as fast as memory, about 10 Gbit/s)
  run MPIRUN_ARGUMENTS    mpirun over the nodes, filling n1's slots first
  once [UP_OPTIONS] -- VERB ...
                          up, the one verb, and down again, whatever happens
  status                  what is up
  down                    end everything in the nodes, and the nodes
  shape NODE|all RATE [BURST]   reshape links both ways while up; RATE off: unshaped
  cut NODE, mend NODE     pull the node's cable; plug it in again (mend also ends a stall)
  isolate NODE            pull both cables, so that the launcher loses the node, too, until mend
  stall NODE [SECONDS]    lose every packet of the node for so long (default: until mend); TCP
                          recovers later
  counters                bytes and packets through each node's interface since up
  on NODE COMMAND ...     run a command inside a node (head, n1, ...)
  slurm                   start a Slurm controller on head and a daemon a node (needs the packages
                          of scripts/setup.sh --slurm); then: on head sbatch -N2 ...
  check                   whether this machine can do it; if not, say why and exit with 77

Examples:
  scripts/emulate-nodes.sh up -N 2 --rate 1gbit
  scripts/emulate-nodes.sh run -n 4 build/release/runtime/spd topo
  scripts/emulate-nodes.sh down
  scripts/emulate-nodes.sh once -N 2 --slots 3,1 -- run -n 4 build/release/runtime/spd topo

Figures: a ping takes about 0.1 ms. Links are faithful up to about 1 Gbit/s. A shaped link lets one
burst (default 64kb) through before it slows down. Nodes share out this machine's cores while there
is one for each; --share-cores gives every node all of them.
Environment: SPD_EMULATE_DIR, the state folder (default: spd-emulate in the temporary folder; for
once, a new one). Each folder is a cluster of its own, and several can be up side by side.
TEXT
}

self=$(readlink -f "$0")
default_state=${TMPDIR:-/tmp}/spd-emulate
if [[ ${1:-} == once && ! ${SPD_EMULATE_DIR:-} ]]; then default_state=$(mktemp -d "$default_state-XXXXXX"); fi
state=${SPD_EMULATE_DIR:-$default_state}
export SPD_EMULATE_DIR=$state # a node has a TMPDIR of its own
subnet=10.77.0     # eth0: what ranks say to each other; shaped, cut and counted
management=10.78.0 # eth1: what the launcher says to the nodes; always in order
impossible=77 # exit status: this machine cannot, which is no fault

die() {
  echo "emulate-nodes: $1" >&2
  exit "${2:-1}"
}

check() {
  ((EUID == 0)) || die "emulated nodes need root" $impossible
  local tool
  for tool in ip tc unshare nsenter taskset mpirun; do
    command -v $tool >/dev/null || die "$tool is missing: run scripts/setup.sh" $impossible
  done
  unshare --pid --mount --fork --mount-proc unshare --net --uts --ipc --mount \
    bash -c 'hostname probe && mount -t sysfs sysfs /sys && ip link add name v0 type veth peer name v1' \
    2>/dev/null ||
    die "this machine does not let root make namespaces, mounts or network links" $impossible
}

inside() { [[ $(readlink /proc/self/ns/pid) == "$(cat "$state/pidns" 2>/dev/null)" ]]; }
is_up() {
  local pid
  inside && return
  pid=$(cat "$state/outer.pid" 2>/dev/null) &&
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "emulate-nodes.sh _cluster"
}
need_up() { is_up || die "no nodes are up ($state): start them with $0 up"; }
node_names() { seq -f n%g "$(cat "$state/nodes")"; }
need_node() {
  [[ -e $state/${1:-}/pid ]] || die "no node \"${1:-}\": it is head or one of $(node_names | paste -sd" ")"
}

# The cores of node INDEX of COUNT: a share of those this process may use.
share_of_cores() {
  python3 - "$1" "$2" <<'PYTHON'
import os
import sys

index, count = int(sys.argv[1]), int(sys.argv[2])
cores = sorted(os.sched_getaffinity(0))
if count > len(cores):
    share = [cores[index % len(cores)]]
else:
    share = cores[index * len(cores) // count:(index + 1) * len(cores) // count]
print(",".join(map(str, share)))
PYTHON
}

# Runs a command inside a node, from outside or from inside of another. Replaces this process.
enter() { # NODE COMMAND...
  local node=$1 pid
  shift
  need_node "$node"
  pid=$(cat "$state/$node/pid")
  local command=(nsenter -t "$pid" -n -u -i -m --wd="$PWD" -- env "TMPDIR=$state/$node/tmp")
  [[ ! -e $state/$node/cores ]] || command+=(taskset -c "$(cat "$state/$node/cores")")
  [[ ! -e $state/slurm.conf ]] || command+=(env "SLURM_CONF=$state/slurm.conf")
  if inside; then exec "${command[@]}" "$@"; fi
  exec nsenter -t "$(cat "$state/init.pid")" -p -m --wd="$PWD" -- "${command[@]}" "$@"
}
on() { (enter "$@"); }

# What happens to packets on the way out of a node, and on the way out of the switch to it.
queue() { # NODE RATE BURST, or NODE off
  local where node device
  for where in "$1 eth0" "head ${1/n/v}"; do
    read -r node device <<<"$where"
    case $2 in
      off) on "$node" tc qdisc del dev "$device" root 2>/dev/null || true ;;
      # No packet fits into so small a burst.
      none) on "$node" tc qdisc replace dev "$device" root tbf rate 1kbit burst 10 limit 10 ;;
      *) on "$node" tc qdisc replace dev "$device" root tbf rate "$2" burst "$3" latency 200ms ;;
    esac || return
  done
}

shape() { # NODE RATE BURST
  queue "$@" || die "the link of $1 cannot be shaped to $2 with a burst of $3"
  echo "$2 $3" >"$state/$1/rate"
}

up() { # OWNED OPTIONS...
  local owned=$1 nodes=2 slots=2 rate='' burst=64kb share=true i
  shift
  while (($#)); do
    case $1 in
      -N | --nodes) nodes=${2:?} && shift ;;
      --slots) slots=${2:?} && shift ;;
      --rate) rate=${2:?} && shift ;;
      --burst) burst=${2:?} && shift ;;
      --share-cores) share=false ;;
      *) die "up: unknown option $1 (see --help)" 2 ;;
    esac
    shift
  done
  [[ $nodes =~ ^[0-9]+$ ]] && ((nodes >= 1 && nodes <= 64)) || die "-N $nodes: give 1 to 64" 2
  local -a per_node
  IFS=, read -ra per_node <<<"$slots"
  if ((${#per_node[@]} == 1)); then
    for ((i = 1; i < nodes; i++)); do per_node+=("${per_node[0]}"); done
  fi
  ((${#per_node[@]} == nodes)) || die "--slots $slots: give one number, or one for each node" 2
  check
  ! is_up || die "nodes are up already in $state: take them down first, or set SPD_EMULATE_DIR"
  rm -rf "$state"
  mkdir -p "$state"
  { echo "127.0.0.1 localhost"; echo "$management.254 head"; } >"$state/hosts"
  echo "$nodes" >"$state/nodes"
  for ((i = 1; i <= nodes; i++)); do
    mkdir -p "$state/n$i/tmp"
    echo "$subnet.$i n$i" >>"$state/hosts"
    echo "n$i slots=${per_node[i - 1]}" >>"$state/hostfile"
    ! $share || share_of_cores $((i - 1)) "$nodes" >"$state/n$i/cores"
  done
  mkdir -p "$state/head/tmp"
  # Who owns the nodes holds the writing end of this pipe: when it is gone, so are they.
  mkfifo "$state/alive"
  SPD_EMULATE_OWNED=$owned setsid unshare --pid --mount --fork --kill-child --mount-proc \
    bash "$self" _cluster <"$state/alive" >"$state/log" 2>&1 &
  local outer=$!
  disown "$outer" # its end is no news
  echo "$outer" >"$state/outer.pid"
  exec {alive}>"$state/alive"
  for ((i = 0; i < 1000; i++)); do
    [[ ! -e $state/up && -d /proc/$outer ]] || break
    sleep 0.01
  done
  if [[ ! -e $state/up ]]; then
    cat "$state/log" >&2
    down
    die "the nodes did not start"
  fi
  awk '{print $1}' "/proc/$outer/task/$outer/children" >"$state/init.pid"
  if [[ $rate ]]; then
    for i in $(node_names); do
      (shape "$i" "$rate" "$burst") || {
        down
        exit 1
      }
    done
  fi
  echo "up: $(paste -sd, "$state/hostfile" | sed 's/,/, /g') on ${rate:-unshaped} links ($state)"
}

down() {
  local outer init i
  outer=$(cat "$state/outer.pid" 2>/dev/null) || return 0
  init=$(cat "$state/init.pid" 2>/dev/null || awk '{print $1}' "/proc/$outer/task/$outer/children") || true
  # The first process of a namespace takes all the others with it.
  ! is_up || kill -KILL "$outer"
  for ((i = 0; i < 500; i++)); do
    [[ $init && -d /proc/$init ]] || break
    sleep 0.02
  done
  rm -rf "$state"
}

once() {
  local -a options=()
  while (($#)) && [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  (($# > 1)) || die "once: give a verb behind --" 2
  shift
  local status=0
  trap 'down' EXIT
  trap 'exit 143' TERM
  trap 'exit 130' INT
  up 1 "${options[@]}"
  # In the background and waited for, so that a signal is answered at once.
  bash "$self" "$@" {alive}>&- <&0 &
  wait $! || status=$?
  exit $status
}

# The first process of all nodes' process namespace.
cluster() {
  local node i
  for node in head $(node_names); do
    unshare --net --uts --ipc --mount bash "$self" _node "$node" </dev/null >"$state/$node/log" 2>&1 &
    echo $! >"$state/$node/pid"
  done
  for node in head $(node_names); do
    for ((i = 0; i < 500; i++)); do
      [[ ! -e $state/$node/ready ]] || break
      sleep 0.01
    done
    [[ -e $state/$node/ready ]] || { cat "$state/$node/log"; die "node $node did not start"; }
  done
  at() { nsenter -t "$(cat "$state/$1/pid")" -n "${@:2}"; }
  network() { # BRIDGE SUBNET PORT_PREFIX DEVICE_IN_NODES
    local node
    at head ip link add "$1" type bridge
    at head ip addr add "$2.254/24" dev "$1"
    at head ip link set "$1" up
    for node in $(node_names); do
      at head ip link add "${node/n/$3}" type veth peer name "$4" netns "$(cat "$state/$node/pid")"
      at head ip link set "${node/n/$3}" master "$1" up
      at "$node" ip addr add "$2.${node#n}/24" dev "$4"
      at "$node" ip link set "$4" up
    done
  }
  network br0 $subnet v eth0
  network br1 $management m eth1
  readlink /proc/self/ns/pid >"$state/pidns"
  touch "$state/up"
  if [[ ${SPD_EMULATE_OWNED:-0} == 1 ]]; then
    while read -r _; do :; done # until the owner is gone
    rm -rf "$state"
  else
    while :; do
      sleep 3600 &
      wait $! || true
    done
  fi
}

# A node, already in namespaces of its own.
node() {
  local name=$1
  hostname "$name"
  ip link set lo up
  echo 0 >/proc/sys/net/ipv4/tcp_slow_start_after_idle # as on clusters: decoding pauses between syncs
  mount -t tmpfs -o mode=1777 shm /dev/shm
  mount --bind "$state/hosts" /etc/hosts
  cat /proc/sys/kernel/random/uuid >"$state/$name/boot_id"
  mount --bind "$state/$name/boot_id" /proc/sys/kernel/random/boot_id # UCX tells hosts apart by it
  # /sys shows the network of whoever mounted it; cgroups stay as they are.
  mkdir -p "$state/$name/cgroup"
  mount --rbind /sys/fs/cgroup "$state/$name/cgroup"
  mount -t sysfs sysfs /sys
  mount --rbind "$state/$name/cgroup" /sys/fs/cgroup
  touch "$state/$name/ready"
  exec sleep infinity
}

# What mpirun takes for ssh: HOST COMMAND...
remote_shell() {
  while [[ ${1:-} == -* ]]; do shift; done
  local host=$1
  shift
  cd /
  enter "$host" env -i HOME="${HOME:-/}" PATH="$PATH" TMPDIR="$state/$host/tmp" \
    SPD_EMULATE_DIR="$state" OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 bash -c "$*"
}

run() {
  # shellcheck source=scripts/mpi-env.sh
  . "$(dirname "$self")/mpi-env.sh"
  export UCX_NET_DEVICES=${UCX_NET_DEVICES:-eth0}
  enter head mpirun -x UCX_NET_DEVICES --mca plm rsh --mca plm_rsh_agent "bash $self _remote_shell" \
    --mca plm_rsh_no_tree_spawn 1 --mca oob_tcp_if_include $management.0/24 \
    --mca btl_tcp_if_include $subnet.0/24 --hostfile "$state/hostfile" --map-by slot "$@"
}

status() {
  if ! is_up; then
    echo "nothing is up ($state)"
    return 0
  fi
  local node
  printf '%-5s %-12s %-6s %-9s %s\n' node address slots cores link
  for node in $(node_names); do
    printf '%-5s %-12s %-6s %-9s %s\n' "$node" "$subnet.${node#n}" \
      "$(sed -n "s/^$node slots=//p" "$state/hostfile")" \
      "$(cat "$state/$node/cores" 2>/dev/null || echo all)" \
      "$(cat "$state/$node/rate" 2>/dev/null || echo unshaped), $(on head cat "/sys/class/net/${node/n/v}/operstate")"
  done
}

counters() {
  local node count
  printf '%-5s %14s %14s %12s %12s\n' node rx_bytes tx_bytes rx_packets tx_packets
  for node in $(node_names); do
    # shellcheck disable=SC2016
    count=$(on "$node" bash -c 'cd /sys/class/net/eth0/statistics
      cat rx_bytes tx_bytes rx_packets tx_packets')
    # shellcheck disable=SC2086
    printf '%-5s %14s %14s %12s %12s\n' "$node" $count
  done
}

link() { # VERB NODE
  need_node "$2"
  [[ $2 != head ]] || die "$1: give one of $(node_names | paste -sd' ')" 2
  case $1 in
    cut) on head ip link set "${2/n/v}" down ;;
    isolate)
      on head ip link set "${2/n/v}" down
      on head ip link set "${2/n/m}" down
      ;;
    stall) queue "$2" none ;;
    mend)
      on head ip link set "${2/n/v}" up
      on head ip link set "${2/n/m}" up
      # shellcheck disable=SC2046
      queue "$2" $(cat "$state/$2/rate" 2>/dev/null || echo off)
      ;;
  esac
}

verb=${1:-}
(($# == 0)) || shift
case $verb in
  -h | --help | help) usage ;;
  check) check ;;
  status) status ;;
  up | once | down)
    ! inside || die "$verb: not from inside of a node"
    case $verb in
      up) up 0 "$@" ;;
      once) once "$@" ;;
      down) down ;;
    esac
    ;;
  run | counters | on | shape | cut | isolate | mend | stall | slurm)
    need_up
    case $verb in
      run) run "$@" ;;
      counters) counters ;;
      on) enter "$@" ;;
      slurm) exec "$(dirname "$self")/emulate-slurm.sh" "$@" ;;
      shape)
        (($# >= 2)) || die "shape: give a node (or all) and a rate" 2
        nodes=$1
        [[ $nodes != all ]] || nodes=$(node_names)
        for name in $nodes; do shape "$name" "$2" "${3:-64kb}"; done
        ;;
      *)
        (($# >= 1)) || die "$verb: give a node" 2
        link "$verb" "$1"
        if [[ $verb == stall && ${2:-} ]]; then
          sleep "$2"
          link mend "$1"
        fi
        ;;
    esac
    ;;
  _cluster) cluster ;;
  _node) node "$@" ;;
  _remote_shell) remote_shell "$@" ;;
  *)
    usage >&2
    exit 2
    ;;
esac
