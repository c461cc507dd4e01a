#include "comm/launcher_claim.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fstream>
#include <string_view>

#include "kernels/device/error.h"

namespace spd {

namespace {

// Of each launcher, the nearest to a process first: mpirun within a step of Slurm inherits the
// step's variables.
struct RankVariables {
  const char* size;
  const char* rank;
};
constexpr std::array kPairs{RankVariables{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                            RankVariables{"PMI_SIZE", "PMI_RANK"},
                            RankVariables{"MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"},
                            RankVariables{"FLUX_JOB_SIZE", "FLUX_TASK_RANK"},
                            RankVariables{"JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK"}};

constexpr const char* kSlurmRank = "SLURM_PROCID";
constexpr std::array kLaunchers{"mpirun",       "mpiexec",    "orterun",         "orted",
                                "prterun",      "prted",      "hydra_pmi_proxy", "mpiexec.hydra",
                                "slurmstepd",   "mpirun_rsh", "mpispawn",        "flux-shell",
                                "mpiexec.mpich"};

std::optional<int> number(const Variables& variables, const char* name) {
  const char* text = variables(name);
  if (text == nullptr) return std::nullopt;
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto read = std::from_chars(text, end, value);
  if (read.ec != std::errc() || read.ptr != end || value < 0) return std::nullopt;
  return value;
}

std::optional<LauncherClaim> claim_of(const Variables& variables, const RankVariables& pair) {
  const auto size = number(variables, pair.size);
  const auto rank = number(variables, pair.rank);
  if (!size || !rank || *rank >= *size) return std::nullopt;
  return LauncherClaim{
      *size, *rank, fmt::format("{}={} and {}={}", pair.size, *size, pair.rank, *rank), pair.rank};
}

bool has(const Variables& variables, const char* name) { return variables(name) != nullptr; }

std::optional<LauncherClaim> claim_of_slurm(const Variables& variables) {
  const bool in_step = has(variables, "SLURM_STEP_ID") || has(variables, "SLURM_STEPID");
  if (in_step && has(variables, "SLURM_STEP_NUM_TASKS")) {
    return claim_of(variables, {"SLURM_STEP_NUM_TASKS", kSlurmRank});
  }
  // sbatch's script bears the allocation's size, and is task 0.
  const char* environment = variables("ENVIRONMENT");
  const bool batch = environment != nullptr && std::string_view(environment) == "BATCH";
  if (!in_step && batch && number(variables, kSlurmRank) == 0) return std::nullopt;
  return claim_of(variables, {"SLURM_NTASKS", kSlurmRank});
}

/// Also where it started one process only.
std::optional<LauncherClaim> nearest_claim(const Variables& variables) {
  for (const RankVariables& pair : kPairs) {
    if (auto claim = claim_of(variables, pair)) return claim;
  }
  return claim_of_slurm(variables);
}

}  // namespace

std::optional<LauncherClaim> launcher_claim(const Variables& variables) {
  auto claim = nearest_claim(variables);
  return claim && claim->ranks > 1 ? claim : std::nullopt;
}

void refuse_unknown_peers(const Variables& variables, const char* who) {
  const auto claim = launcher_claim(variables);
  if (!claim) return;
  throw Error(
      ErrorCode::usage,
      fmt::format("the launcher started {} processes ({}), but {} runs this one alone: "
                  "each would run the whole job",
                  claim->ranks, claim->said_by, who),
      fmt::format("start ranks by the mpirun of the MPI that spd was built with (Open MPI), "
                  "or by srun --mpi=pmix; ranks as threads by spd alone; where the "
                  "variable is left over from another job: unset {}",
                  claim->variable));
}

bool speaks_before_mpi(const Variables& variables, const std::string& parent) {
  const auto claim = launcher_claim(variables);
  if (!claim || claim->rank == 0) return true;
  return std::find(kLaunchers.begin(), kLaunchers.end(), parent) == kLaunchers.end();
}

std::string parent_process() {
  std::string name;
  std::getline(std::ifstream(fmt::format("/proc/{}/comm", getppid())), name);
  return name;
}

bool all_on_this_node(const Variables& variables) {
  if (const auto size = number(variables, "OMPI_COMM_WORLD_SIZE")) {
    return number(variables, "OMPI_COMM_WORLD_LOCAL_SIZE") == size;
  }
  if (has(variables, "SLURM_STEP_ID") && has(variables, "PMIX_NAMESPACE")) {
    return number(variables, "SLURM_STEP_NUM_NODES") == 1;
  }
  return started_alone(variables);
}

bool started_alone(const Variables& variables) {
  return !has(variables, "PMIX_NAMESPACE") && !nearest_claim(variables);
}

}  // namespace spd
