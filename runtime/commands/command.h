// What a subcommand is, and the options that all model-running subcommands share.
#pragma once

#include <boost/program_options.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/inference/engine.h"
#include "runtime/job/launch.h"
#include "runtime/report/named_files.h"
#include "runtime/report/output_file.h"

namespace spd {

namespace po = boost::program_options;

/// One subcommand: registered in command.cpp's table, implemented in commands/NAME.cpp.
struct Command {
  const char* name;
  const char* summary;
  /// Runs on every rank with the arguments behind the subcommand's name.
  void (*run)(RankContext& context, const std::vector<std::string>& arguments);
  bool alone = false;  ///< has work for one rank only, which needs no MPI
};
const std::vector<Command>& commands();

void run_generate(RankContext& context, const std::vector<std::string>& arguments);
void run_tokenize(RankContext& context, const std::vector<std::string>& arguments);
void run_eval(RankContext& context, const std::vector<std::string>& arguments);
void run_topo(RankContext& context, const std::vector<std::string>& arguments);
void run_repair(RankContext& context, const std::vector<std::string>& arguments);
void run_sensitivity(RankContext& context, const std::vector<std::string>& arguments);
void run_plan(RankContext& context, const std::vector<std::string>& arguments);
void run_distill(RankContext& context, const std::vector<std::string>& arguments);
void run_bench(RankContext& context, const std::vector<std::string>& arguments);

/// Options common to generate, eval and bench.
struct CommonOptions {
  EngineOptions engine;
  std::string json;  ///< file for the results, empty: none

  po::options_description describe();
};

/// Options that decide how ranks are started; parsed before there are ranks.
struct StartOptions {
  LaunchOptions launch;
  double deadline_s = 30.0;
  std::string nic;  ///< interface, network or RDMA device between nodes; empty: by itself
  std::string
      algo_topology;  ///< of --algo, where it names a file; read by whoever starts the ranks
  std::vector<std::string> unused;  ///< options given that have no meaning for virtual ranks
  po::options_description describe();
};

/// Thrown where --help was given: not an error, the text is to be printed.
struct HelpRequest {
  std::string text;
};

/// Parses arguments and then, for what they leave open, the --config file (lines "name = value").
/// Returns the files that they name. Throws usage Error for what is unknown or malformed,
/// HelpRequest for --help. `usage` introduces the help; examples close it.
NamedFiles parse_arguments(const po::options_description& options,
                           const std::vector<std::string>& arguments, const std::string& usage,
                           const std::string& examples);

/// Reads only the start options, leaving everything else unread. Where ranks are virtual, those of
/// messages between processes are checked all the same, and listed as unused.
StartOptions parse_start_options(const std::vector<std::string>& arguments);

/// {"schema": "spd.KIND/1", "version", "model": {...}, "tp", "ranks_per_node", ...}: what every
/// result file begins with.
nlohmann::json result_header(const char* kind, Engine& engine);
/// {"full": n, "node": n, "drop": n, "bf16": n, "int8": n}: sync points by level and wire format.
nlohmann::json count_levels(const SyncLevels& levels);

}  // namespace spd
