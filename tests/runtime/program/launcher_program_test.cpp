// The program under launchers that it does not know, with variables that are left over, and beside
// ranks that never start.
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "tests/runtime/program/program_run.h"
#include "tests/runtime/tiny_model.h"

namespace spd {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Said {
  int status = -1;
  std::string text;  // stdout and stderr
  double seconds = 0;
};

Said shell(const std::string& command) {
  const auto begin = std::chrono::steady_clock::now();
  Said said;
  FILE* pipe = popen(("{ " + command + "; } 2>&1").c_str(), "r");
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) {
    said.text += static_cast<char>(c);
  }
  const int status = pclose(pipe);
  said.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  said.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return said;
}

std::string generate(const TinyModel& model) {
  return fmt::format("{} generate -m {} --prompt Hi -n 2 --pin 0", SPD_PROGRAM,
                     quoted(model.path()));
}

TEST(Launcher, WhoseRanksMpiDoesNotKnowIsRefused) {
  const TinyModel model;
  for (const char* variables :
       {"PMI_SIZE=4 PMI_RANK=1", "MV2_COMM_WORLD_SIZE=4 MV2_COMM_WORLD_RANK=0",
        "SLURM_NTASKS=4 SLURM_PROCID=0", "SLURM_NTASKS=4 SLURM_PROCID=3",
        "SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 SLURM_STEP_ID=0 ENVIRONMENT=BATCH"}) {
    for (const char* ranks : {"", " --virtual-ranks 2"}) {
      const Said said = shell(fmt::format("env {} {}{}", variables, generate(model), ranks));
      EXPECT_EQ(said.status, 2) << variables << ranks << ": " << said.text;
      EXPECT_THAT(said.text, HasSubstr("the launcher started 4 processes"));
      EXPECT_THAT(said.text, HasSubstr("remedy: "));
    }
  }
}

TEST(Launcher, OfAnAllocationAloneIsNone) {
  const TinyModel model;
  for (const char* variables :
       {"ENVIRONMENT=BATCH SLURM_NTASKS=4 SLURM_PROCID=0", "SLURM_NTASKS=4 SLURM_JOB_ID=1",
        "PMIX_RANK=1", "OMPI_COMM_WORLD_RANK=1", "PMI_SIZE=1 PMI_RANK=0"}) {
    const Said said = shell(fmt::format("env {} {} --virtual-ranks 2", variables, generate(model)));
    EXPECT_EQ(said.status, 0) << variables << ": " << said.text;
  }
}

TEST(Launcher, VariablesLeftOverDoNotSilenceHelp) {
  for (const char* variables : {"SLURM_PROCID=1", "PMIX_RANK=1", "OMPI_COMM_WORLD_RANK=1",
                                "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4"}) {
    for (const auto& [arguments, status] : {std::pair{" --help", 0}, std::pair{"", 2}}) {
      const Said said = shell(fmt::format("env {} {}{}", variables, SPD_PROGRAM, arguments));
      EXPECT_EQ(said.status, status);
      EXPECT_THAT(said.text, HasSubstr("Subcommands:")) << variables << arguments;
    }
  }
}

TEST(Launcher, ARankThatNeverStartsEndsTheJob) {
  const TinyModel model;
  for (const bool first : {true, false}) {
    const std::string program = generate(model) + " --deadline 2";
    const std::string spd = fmt::format("-n 2 {}", program);
    const std::string other = "-n 1 sleep 100";
    const Said said = shell(fmt::format("timeout -k 5 90 {} {} : {}", SPD_MPIRUN,
                                        first ? spd : other, first ? other : spd));
    EXPECT_EQ(said.status, 6) << said.text;
    EXPECT_THAT(said.text,
                HasSubstr(fmt::format("spd: rank {}: MPI did not start within 5.0 s: not "
                                      "all of the 3 that the launcher started",
                                      first ? 0 : 1)));
    EXPECT_THAT(said.text, HasSubstr("--deadline"));
    EXPECT_LT(said.seconds, 5.0 + 10.0);
  }
}

TEST(Launcher, ANetworkThatIsNotThereIsRefusedOnce) {
  const TinyModel model;
  const Said said = shell(fmt::format("{} -n 2 {} --nic eth99", SPD_MPIRUN, generate(model)));
  EXPECT_EQ(said.status, 2) << said.text;
  EXPECT_THAT(said.text, HasSubstr("--nic eth99: host "));
  EXPECT_EQ(said.text.find("spd: "), said.text.rfind("spd: ")) << said.text;
}

}  // namespace
}  // namespace spd
