#include "runtime/commands/command.h"

#include <fmt/format.h>

#include <sstream>

#include "comm/job_network.h"
#include "kernels/device/error.h"
#include "runtime/job/option_values.h"

namespace spd {

namespace po = boost::program_options;

const std::vector<Command>& commands() {
  static const std::vector<Command> registered = {
      {"generate", "complete prompts, or chat", run_generate},
      {"tokenize", "show prompts as a model gets them: rendered chats, ids, pieces", run_tokenize,
       true},
      {"eval", "perplexity on a text or zero-shot tasks, against a baseline plan", run_eval},
      {"repair", "make up for the syncs that a plan leaves out", run_repair},
      {"sensitivity", "what each sync point is worth, on a text", run_sensitivity},
      {"plan", "the fastest sync plan within a loss, for a machine", run_plan},
      {"distill", "teach blocks without syncs what they did with them", run_distill},
      {"bench", "time prefill and decoding, plan against plan", run_bench},
      {"topo", "discover the nodes, and measure links and all-reduces", run_topo},
  };
  return registered;
}

namespace {

constexpr int kMostThreads = 4096;
constexpr int kMostVirtualRanks = 1024;  // threads of one process

}  // namespace

void StartOptions::add_to(OptionTable& table) {
  OptionGroup ranks = table.group("Ranks");
  ranks.add("virtual-ranks", "R", &launch.virtual_ranks, at_least(1).and_at_most(kMostVirtualRanks),
            "run R ranks as threads of this process instead of under mpirun or srun", "");
  ranks.add("virtual-nodes", "N", &launch.virtual_nodes, at_least(1),
            "spread the virtual ranks over N virtual nodes");
  ranks.add("deadline", "S", &deadline_s, above(0).and_below(1e6),
            R"(seconds that a rank waits for its peers before it gives up, also when the job starts
            (then 5 at least))");
  ranks.add_parsed(
      "intra", "B",
      [this](const std::string& text) { launch.backends.intra = parse_intra_backend(text); },
      "how ranks of a node talk: auto, shm or mpi; thread only with --virtual-ranks", "auto");
  ranks.add_parsed(
      "inter", "B",
      [this](const std::string& text) { launch.backends.inter = parse_inter_backend(text); },
      "how nodes talk: auto, ucx or mpi", "auto");
  ranks.add("nic", "NIC", &nic,
            R"(what nodes talk over and listen on: an interface (eth0), a network (10.0.0.0/24) or
            an RDMA device (mlx5_0:1))",
            "UCX_NET_DEVICES, or what joins the nodes; spd topo prints it");
  ranks.add_parsed(
      "algo", "A",
      [this](const std::string& text) {
        if (text.ends_with(".json")) {
          algo_topology = text;
        } else {
          launch.backends.algorithms = parse_algorithm_table(text);
        }
      },
      R"(all-reduce across nodes: one_shot, recursive_doubling, ring or scatter_gather, or several
      with the bytes from which each is used, one_shot,scatter_gather:524288, or what was fastest
      in a topology.json of spd topo)",
      "by size; spd topo prints it");
  ranks.add("rails", "N", &launch.backends.rails, at_least(1),
            "ranks of a node that talk to other nodes at once", "by size");
  ranks.flag("flat", &launch.backends.flat,
             "no hierarchy: every rank talks to every rank, for comparison");
}

void CommonOptions::add_to(OptionTable& table) {
  OptionGroup model = table.group("Model and plan");
  model.require("model,m", "DIR", &engine.model,
                "Hugging Face directory: config.json, *.safetensors, tokenizer.json");
  model.add("plan", "FILE", &engine.plan, "sync plan", "every sync full");
  model.flag("any-repair-path", &engine.repair_paths, RepairPaths::any,
             "let plans name repair files outside of their own folder");
  model.add("drop", "SEL", &engine.drop,
            "drop these syncs, repeatable: attn:5-20,22 or mlp:3 or attn:all");
  model.add("node", "SEL", &engine.node,
            "sync these within each node only, repeatable; --drop wins over --node");
  model.add("wire", "F=SEL", &engine.wire,
            "send these syncs' sums as f32, bf16 or int8, repeatable: bf16=attn:all");
  model.add("threads,t", "T", &engine.threads, at_least(0).and_at_most(kMostThreads),
            "threads of a rank", "the node's cores shared by its ranks; 1 if virtual");
  model.add("pin", &engine.pin,
            "pin threads to cores; turn off where several jobs or emulated nodes share cores");
  model.flag("exact", &engine.exact,
             R"(a prompt's results do not depend, to the bit, on --batch, --batch-tokens or the
             prompts beside it: f32 products in one order, also where others are faster. Long
             prompts and large batches take several times as long; a token alone does not)");
  model.add("kv-dtype", "T", &engine.kv_dtype, one_of(DType::f16, DType::bf16, DType::f32),
            "type of the KV cache");
  model.add("batch-tokens", "N", &engine.batch_tokens, at_least(1),
            "tokens that one prefill step takes at most");
  model.add("json", "FILE", &json,
            "write the results as JSON, too; -: to stdout, and what is printed to stderr");
  model.add_config_and_help();
}

NamedFiles parse_arguments(const OptionTable& table, const std::vector<std::string>& arguments,
                           const std::string& usage, const std::string& examples) {
  const po::options_description options = table.description();
  po::variables_map values;
  store_arguments(options, arguments, OtherOptions::refused, values);
  if (values.count("help")) {
    std::ostringstream text;
    text << usage << "\n\n" << options << "\n" << examples;
    throw HelpRequest{text.str()};
  }
  if (values.count("config")) {
    store_option_file(options, values["config"].as<std::string>(), OtherOptions::refused, values);
  }
  notify_options(values);
  return named_files(values);
}

namespace {

// Virtual ranks are threads, which send no messages: what says how must be right all the same, for
// the same file of options may start processes.
void check_unused(const po::variables_map& values, StartOptions& start) {
  const LaunchOptions& launch = start.launch;
  check_rails(launch.backends.rails,
              Topology::contiguous(launch.virtual_ranks, launch.virtual_nodes));
  if (!start.nic.empty()) check_nic(start.nic);
  for (const char* option : {"intra", "inter", "nic", "algo", "rails"}) {
    const bool fits =
        option == std::string("intra") && (launch.backends.intra == IntraBackend::thread ||
                                           launch.backends.intra == IntraBackend::automatic);
    if (values.count(option) && !fits) start.unused.push_back(fmt::format("--{}", option));
  }
  if (launch.backends.flat) start.unused.emplace_back("--flat");
}

}  // namespace

StartOptions parse_start_options(const std::vector<std::string>& arguments) {
  StartOptions start;
  OptionTable table;
  start.add_to(table);
  const po::options_description options = table.description();
  po::options_description and_config;
  and_config.add(options).add_options()("config", po::value<std::string>());
  po::variables_map values;
  store_arguments(and_config, arguments, OtherOptions::left, values);
  if (values.count("config")) {
    store_option_file(options, values["config"].as<std::string>(), OtherOptions::left, values);
  }
  notify_options(values);
  if (values.count("virtual-nodes") && !values.count("virtual-ranks")) {
    throw Error(ErrorCode::usage, "--virtual-nodes needs --virtual-ranks",
                "under mpirun the nodes are the real ones");
  }
  if (start.launch.virtual_ranks > 0) check_unused(values, start);
  start.launch.deadline =
      std::chrono::milliseconds(static_cast<std::int64_t>(start.deadline_s * 1000.0));
  return start;
}

}  // namespace spd
