#include "runtime/commands/command.h"

#include <fmt/format.h>

#include <limits>
#include <sstream>

#include "comm/job_network.h"
#include "kernels/device/error.h"
#include "model/fingerprint.h"
#include "runtime/commands/option_values.h"

namespace spd {

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

// For an option's notifier: refuses a value below `least` or above `most`.
auto within(const char* flag, std::int64_t least,
            std::int64_t most = std::numeric_limits<std::int64_t>::max()) {
  return [=](std::int64_t value) {
    if (value >= least && value <= most) return;
    throw Error(ErrorCode::usage,
                value < least ? fmt::format("{} {} is less than {}", flag, value, least)
                              : fmt::format("{} {} is more than {}", flag, value, most),
                "see --help for what it means");
  };
}

constexpr std::int64_t kMostThreads = 4096;

// Names of files, which may hold blanks and quotes: Boost would read them as quoted words.
auto* path_option(std::filesystem::path& path) {
  return po::value<std::string>()->notifier([&path](const std::string& text) { path = text; });
}

}  // namespace

po::options_description StartOptions::describe() {
  po::options_description options("Ranks");
  options.add_options()                                                           //
      ("virtual-ranks", po::value(&launch.virtual_ranks)->value_name("R"),        //
       "run R ranks as threads of this process instead of under mpirun or srun")  //
      ("virtual-nodes", po::value(&launch.virtual_nodes)->value_name("N"),        //
       "spread the virtual ranks over N virtual nodes (default 1)")               //
      ("deadline", po::value(&deadline_s)->value_name("S"),                       //
       "seconds that a rank waits for its peers before it gives up, also when the job starts (then "
       "5 at least) (default 30)")  //
      ("intra",
       po::value<std::string>()->value_name("B")->notifier(
           [this](const std::string& text) { launch.backends.intra = parse_intra_backend(text); }),
       "how ranks of a node talk: auto (default), shm or mpi; thread only with --virtual-ranks")  //
      ("inter",
       po::value<std::string>()->value_name("B")->notifier(
           [this](const std::string& text) { launch.backends.inter = parse_inter_backend(text); }),
       "how nodes talk: auto (default), ucx or mpi")  //
      ("nic", po::value(&nic)->value_name("NIC"),
       "what nodes talk over and listen on: an interface (eth0), a network (10.0.0.0/24) or an "
       "RDMA device (mlx5_0:1) (default: UCX_NET_DEVICES, or what joins the nodes; spd topo prints "
       "it)")  //
      ("algo", po::value<std::string>()->value_name("A")->notifier([this](const std::string& text) {
        if (text.ends_with(".json")) {
          algo_topology = text;
        } else {
          launch.backends.algorithms = parse_algorithm_table(text);
        }
      }),
       "all-reduce across nodes: one_shot, recursive_doubling, ring or scatter_gather, or several "
       "with the bytes from which each is used, one_shot,scatter_gather:524288, or what was "
       "fastest in a topology.json of spd topo (default: by size; spd topo prints it)")  //
      ("rails",
       po::value(&launch.backends.rails)->value_name("N")->notifier(within("--rails", 1)),  //
       "ranks of a node that talk to other nodes at once (default: by size)")               //
      ("flat", po::bool_switch(&launch.backends.flat),                                      //
       "no hierarchy: every rank talks to every rank, for comparison");                     //
  return options;
}

po::options_description CommonOptions::describe() {
  po::options_description options("Model and plan");
  options.add_options()                                                       //
      ("model,m", path_option(engine.model)->value_name("DIR")->required(),   //
       "Hugging Face directory: config.json, *.safetensors, tokenizer.json")  //
      ("plan", path_option(engine.plan)->value_name("FILE"),
       "sync plan (default: every sync full)")  //
      ("any-repair-path", po::bool_switch()->notifier([this](bool any) {
        engine.repair_paths = any ? RepairPaths::any : RepairPaths::beside;
      }),
       "let plans name repair files outside of their own folder")                 //
      ("drop", po::value(&engine.drop)->value_name("SEL")->composing(),           //
       "drop these syncs, repeatable: attn:5-20,22 or mlp:3 or attn:all")         //
      ("node", po::value(&engine.node)->value_name("SEL")->composing(),           //
       "sync these within each node only, repeatable; --drop wins over --node")   //
      ("wire", po::value(&engine.wire)->value_name("F=SEL")->composing(),         //
       "send these syncs' sums as f32, bf16 or int8, repeatable: bf16=attn:all")  //
      ("threads,t",
       po::value(&engine.threads)
           ->value_name("T")
           ->notifier(within("--threads", 0, kMostThreads)),                               //
       "threads of a rank (default: the node's cores shared by its ranks; 1 if virtual)")  //
      ("pin", po::value(&engine.pin)->value_name("0|1")->default_value(true, "1"),         //
       "pin threads to cores; turn off where several jobs or emulated nodes share cores")  //
      ("exact", po::bool_switch(&engine.exact),                                            //
       "a prompt's results do not depend, to the bit, on --batch, --batch-tokens or the prompts "
       "beside it: f32 products in one order, also where others are faster. Long prompts and large "
       "batches take several times as long; a token alone does not")  //
      ("kv-dtype",
       po::value<std::string>()->value_name("T")->default_value("f16")->notifier(  //
           [this](const std::string& text) { engine.kv_dtype = parse_dtype(text); }),
       "type of the KV cache: f16, bf16 or f32")  //
      ("batch-tokens",
       po::value(&engine.batch_tokens)->value_name("N")->notifier(within("--batch-tokens", 1)),  //
       "tokens that one prefill step takes at most (default 512)")                               //
      ("json", po::value(&json)->value_name("FILE"),                                             //
       "write the results as JSON, too; -: to stdout, and what is printed to stderr")            //
      ("config", po::value<std::string>()->value_name("FILE"),                                   //
       "read options from a file of lines \"name = value\"; the command line wins")              //
      ("help,h", "this text");
  return options;
}

NamedFiles parse_arguments(const po::options_description& options,
                           const std::vector<std::string>& arguments, const std::string& usage,
                           const std::string& examples) {
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
  const po::options_description options = start.describe();
  po::options_description and_config;
  and_config.add(options).add_options()("config", po::value<std::string>());
  po::variables_map values;
  store_arguments(and_config, arguments, OtherOptions::left, values);
  if (values.count("config")) {
    store_option_file(options, values["config"].as<std::string>(), OtherOptions::left, values);
  }
  notify_options(values);
  constexpr int kMostVirtualRanks = 1024;  // threads of one process
  if (start.launch.virtual_ranks > kMostVirtualRanks) {
    throw Error(ErrorCode::usage,
                fmt::format("--virtual-ranks {} is more than {}", start.launch.virtual_ranks,
                            kMostVirtualRanks),
                "give fewer: they are threads of one process");
  }
  if (values.count("virtual-ranks") && start.launch.virtual_ranks < 1) {
    throw Error(ErrorCode::usage,
                fmt::format("--virtual-ranks {} is less than 1", start.launch.virtual_ranks),
                "give the number of ranks, e.g. --virtual-ranks 4");
  }
  if (values.count("virtual-nodes") && !values.count("virtual-ranks")) {
    throw Error(ErrorCode::usage, "--virtual-nodes needs --virtual-ranks",
                "under mpirun the nodes are the real ones");
  }
  if (!(start.deadline_s > 0.0 && start.deadline_s < 1e6)) {
    throw Error(ErrorCode::usage, fmt::format("--deadline {} is not a time", start.deadline_s),
                "give seconds, e.g. --deadline 30");
  }
  if (start.launch.virtual_ranks > 0) check_unused(values, start);
  start.launch.deadline =
      std::chrono::milliseconds(static_cast<std::int64_t>(start.deadline_s * 1000.0));
  return start;
}

nlohmann::json count_levels(const SyncLevels& levels) {
  return {{"full", levels.count(SyncLevel::full)},
          {"node", levels.count(SyncLevel::node)},
          {"drop", levels.count(SyncLevel::drop)},
          {"bf16", levels.count(WireFormat::bf16)},
          {"int8", levels.count(WireFormat::int8)}};
}

nlohmann::json result_header(const char* kind, Engine& engine) {
  const RankContext& context = engine.context();
  const ModelConfig& config = engine.config();
  return {{"schema", fmt::format("spd.{}/1", kind)},
          {"version", SPD_VERSION},
          {"model",
           {{"path", engine.options().model.string()},
            {"architecture", config.architecture},
            {"fingerprint", fingerprint(config)},
            {"blocks", config.blocks}}},
          {"tp", context.ranks()},
          {"ranks_per_node", context.comms.topology.ranks_per_node()},
          {"virtual", context.is_virtual},
          {"backend", context.comms.world->backend()},
          {"device", engine.operators().device().name()},
          {"threads_per_rank", engine.operators().parallelism()},
          {"syncs", count_levels(engine.plan().levels)}};
}

}  // namespace spd
