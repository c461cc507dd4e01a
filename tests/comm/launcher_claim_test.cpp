// What environments say, as launchers set them: versions are those whose environments were printed.
#include "comm/launcher_claim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "kernels/device/error.h"

namespace spd {
namespace {

using Environment = std::map<std::string, std::string>;

Variables lookup(const Environment& environment) {
  return [&environment](const char* name) -> const char* {
    const auto at = environment.find(name);
    return at == environment.end() ? nullptr : at->second.c_str();
  };
}

struct Case {
  const char* what;
  Environment environment;
  int ranks;  ///< 0: nobody has started others
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"a shell", {}, 0},
      {"mpirun of Open MPI", {{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "2"}}, 4},
      {"of one", {{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}}, 0},
      {"MPICH's mpiexec", {{"PMI_SIZE", "4"}, {"PMI_RANK", "3"}, {"PMI_FD", "9"}}, 4},
      {"MVAPICH's", {{"MV2_COMM_WORLD_SIZE", "2"}, {"MV2_COMM_WORLD_RANK", "0"}}, 2},
      {"srun without pmix",
       {{"SLURM_NTASKS", "4"},
        {"SLURM_STEP_NUM_TASKS", "4"},
        {"SLURM_STEP_ID", "0"},
        {"SLURM_PROCID", "0"}},
       4},
      {"srun -n 1 in an allocation of 4",
       {{"SLURM_NTASKS", "4"},
        {"SLURM_STEP_NUM_TASKS", "1"},
        {"SLURM_STEP_ID", "1"},
        {"SLURM_PROCID", "0"}},
       0},
      {"sbatch's script",
       {{"ENVIRONMENT", "BATCH"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}},
       0},
      {"a step of srun in it",
       {{"ENVIRONMENT", "BATCH"},
        {"SLURM_NTASKS", "4"},
        {"SLURM_STEP_NUM_TASKS", "4"},
        {"SLURM_STEP_ID", "0"},
        {"SLURM_PROCID", "0"}},
       4},
      {"salloc's shell", {{"SLURM_NTASKS", "4"}, {"SLURM_JOB_ID", "7"}}, 0},
      {"tasks without a step", {{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "1"}}, 4},
      {"their first", {{"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}}, 4},
      {"mpirun of one within sbatch, its daemon in a step",
       {{"OMPI_COMM_WORLD_SIZE", "1"},
        {"OMPI_COMM_WORLD_RANK", "0"},
        {"SLURM_STEP_ID", "0"},
        {"SLURM_STEP_NUM_TASKS", "2"},
        {"SLURM_PROCID", "1"}},
       0},
      {"Intel's mpirun of one within a step",
       {{"PMI_SIZE", "1"},
        {"PMI_RANK", "0"},
        {"SLURM_STEP_ID", "0"},
        {"SLURM_STEP_NUM_TASKS", "2"},
        {"SLURM_PROCID", "1"}},
       0},
      {"a rank left over", {{"SLURM_PROCID", "1"}}, 0},
      {"another", {{"PMIX_RANK", "1"}}, 0},
      {"and another", {{"OMPI_COMM_WORLD_RANK", "1"}}, 0},
      {"a size left over", {{"PMI_SIZE", "4"}}, 0},
      {"no numbers", {{"PMI_SIZE", "many"}, {"PMI_RANK", "0"}}, 0},
      {"a rank beyond the size", {{"PMI_SIZE", "4"}, {"PMI_RANK", "4"}}, 0},
  };
  return all;
}

TEST(LauncherClaim, IsThatOfTheNearestLauncher) {
  for (const Case& one : cases()) {
    const auto claim = launcher_claim(lookup(one.environment));
    EXPECT_EQ(claim ? claim->ranks : 0, one.ranks) << one.what;
  }
}

TEST(LauncherClaim, IsRefusedWithItsVariablesWhereNobodyKnowsOfTheOthers) {
  EXPECT_NO_THROW(refuse_unknown_peers(lookup({}), "MPI"));
  const Environment hydra{{"PMI_SIZE", "4"}, {"PMI_RANK", "1"}};
  try {
    refuse_unknown_peers(lookup(hydra), "MPI");
    FAIL() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    for (const char* part : {"4 processes", "PMI_SIZE=4", "PMI_RANK=1", "MPI", "--mpi=pmix"}) {
      EXPECT_THAT(error.what(), testing::HasSubstr(part));
    }
  }
}

TEST(LauncherClaim, SilencesOnlyWhatALauncherStarted) {
  const Environment second{{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "1"}};
  const Environment first{{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "0"}};
  EXPECT_FALSE(speaks_before_mpi(lookup(second), "mpirun"));
  EXPECT_FALSE(speaks_before_mpi(lookup(second), "orted"));
  EXPECT_TRUE(speaks_before_mpi(lookup(second), "bash"));
  EXPECT_TRUE(speaks_before_mpi(lookup(first), "mpirun"));
  for (const char* rank : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"}) {
    const Environment alone{{rank, "1"}};
    EXPECT_TRUE(speaks_before_mpi(lookup(alone), "mpirun")) << rank;
  }
}

TEST(LauncherClaim, TellsWhetherAllRanksAreOfThisNode) {
  const auto here = [](const Environment& environment) {
    return all_on_this_node(lookup(environment));
  };
  EXPECT_TRUE(here({}));
  EXPECT_TRUE(here({{"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}));
  EXPECT_FALSE(here({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}));
  Environment step{{"SLURM_STEP_ID", "0"}, {"PMIX_NAMESPACE", "slurm.1.0"}};
  EXPECT_FALSE(here(step));
  step["SLURM_STEP_NUM_NODES"] = "1";
  EXPECT_TRUE(here(step));
  EXPECT_FALSE(here({{"PMIX_NAMESPACE", "other"}}));
}

}  // namespace
}  // namespace spd
