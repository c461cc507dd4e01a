# shellcheck shell=bash
# Sourced, never run: lets Open MPI 4 start ranks as root, in containers, and more of them than
# there are cores. Values that are set already win.

export OMPI_ALLOW_RUN_AS_ROOT=${OMPI_ALLOW_RUN_AS_ROOT:-1}
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=${OMPI_ALLOW_RUN_AS_ROOT_CONFIRM:-1}
export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
# Without it two jobs at once pin their ranks to the same first cores.
export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
# Ranks that wait give their core to those that compute.
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
# Containers mostly forbid ptrace, and with it copies straight between processes.
export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
# A node that the launcher loses, too, is missed after 19 s and the job ended, before ranks give up
# waiting (30 s): afterwards mpirun would wait for its daemon there for as long as TCP retries.
export OMPI_MCA_oob_tcp_keepalive_time=${OMPI_MCA_oob_tcp_keepalive_time:-10}
export OMPI_MCA_oob_tcp_keepalive_intvl=${OMPI_MCA_oob_tcp_keepalive_intvl:-3}
export OMPI_MCA_oob_tcp_keepalive_probes=${OMPI_MCA_oob_tcp_keepalive_probes:-3}
# Where mpirun and its daemons listen cannot be narrowed to a network: comm/SECURITY.md. What ranks
# listen on is spd's to choose (--nic, or what btl_tcp_if_include and UCX_NET_DEVICES say).
