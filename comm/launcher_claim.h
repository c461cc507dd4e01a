// The launcher's claim: what the environment says of the launcher that started this process, before
// MPI runs and beside what MPI says: how many processes there are, which this one is, and whether
// to believe it.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace spd {

/// The value of an environment variable, or null: std::getenv, or a test's own.
using Variables = std::function<const char*(const char*)>;

/// A launcher's word: this process is one of `ranks`.
struct LauncherClaim {
  int ranks = 0;
  int rank = 0;
  std::string said_by;   ///< the variables and their values: "PMI_SIZE=4 and PMI_RANK=1"
  std::string variable;  ///< the one that names the rank
};

/// The word of the nearest launcher: Open MPI's mpirun, MPICH's and Intel's (PMI), MVAPICH's,
/// flux, jsrun, or a step of Slurm. Nothing where there is none, where it started one process only,
/// and in Slurm's own shells (sbatch's script, salloc): those name an allocation's tasks, but
/// nobody has started them yet. Variables count in pairs, size and rank: one alone is left over.
std::optional<LauncherClaim> launcher_claim(const Variables& variables);

/// Throws usage Error where a launcher says that there are several processes, of which this
/// program's MPI, or the ranks that it runs as threads, know nothing: each would run the whole job.
/// `who`: who takes it for alone, "MPI" or "--virtual-ranks".
void refuse_unknown_peers(const Variables& variables, const char* who);

/// Whether this process is to print what needs no MPI. Not where a launcher said that others are
/// there and that this is not the first of them; but only if the launcher itself started it
/// (`parent`: the name of the parent process): a shell has such variables left over.
bool speaks_before_mpi(const Variables& variables, const std::string& parent);
/// The name of this process's parent, at most 15 characters.
std::string parent_process();

/// Whether all ranks of the job are of this node, as far as the launcher tells before MPI runs.
bool all_on_this_node(const Variables& variables);
/// Whether no launcher has started this process.
bool started_alone(const Variables& variables);

}  // namespace spd
