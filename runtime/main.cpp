// The program: starts the ranks, runs one subcommand on each, and ends the job in one voice.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "comm/failure/collective.h"
#include "comm/failure/launcher_signal.h"
#include "comm/launcher_claim.h"
#include "comm/mpi_session.h"
#include "kernels/device/log.h"
#include "kernels/device/printable.h"
#include "model/read_patience.h"
#include "runtime/cluster/topology_file.h"
#include "runtime/commands/command.h"
#include "runtime/job/agreed_error.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"

namespace spd {
namespace {

std::string help_text() {
  std::string text =
      "spd " SPD_VERSION
      ": a tensor-parallel LLM runtime that decides which syncs are worth paying for\n\n"
      "  mpirun -n R spd SUBCOMMAND [options]\n\nSubcommands:\n";
  for (const Command& command : commands()) {
    text += fmt::format("  {:<12} {}\n", command.name, command.summary);
  }
  return text +
         "\nOptions of a subcommand: spd SUBCOMMAND --help\n"
         "Without MPI: spd SUBCOMMAND --virtual-ranks R runs R ranks as threads.\n"
         "\nExit status: 0; 2 to 8 where the command line, an input, the system (a full disk), a\n"
         "peer, the deadline, a device or the program itself was at fault; 75 after SIGTERM,\n"
         "SIGINT or SIGUSR1 to any rank: what was done is kept, and the message says how to go "
         "on.\n"
         "A second signal ends at once. mpirun that gets SIGTERM or SIGINT itself (Ctrl-C) lets "
         "its\n"
         "ranks do the same, and ends with 1, its own.\n"
         "\nWhat is written: --json, --out, --items and --plot take a file, a device, a FIFO, or "
         "-\n"
         "for stdout; what is printed goes to stderr then. None may be a file that is read, but "
         "for\n"
         "plans that repair and distill update.\n"
         "What ranks print reaches stdout through mpirun, which tells nobody where that is full:\n"
         "--json FILE does. A killed job may leave .NAME.lock beside an output NAME; the next one\n"
         "that writes there removes it.\n";
}

const Command& find_command(const std::string& name) {
  for (const Command& command : commands()) {
    if (name == command.name) return command;
  }
  std::string known;
  for (const Command& command : commands()) known += std::string(" ") + command.name;
  throw Error(ErrorCode::usage, fmt::format("unknown subcommand \"{}\"", name),
              "use one of:" + known);
}

const char* variable(const char* name) { return std::getenv(name); }

void print_error(const std::string& message) {
  flush_stdout();
  std::fputs(("spd: " + printable(message) + "\n").c_str(), stderr);
}

// What no part of the program took for its own: never a wrong input, at best memory.
Error of_foreign(const std::exception& error, const std::string& doing) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) {
    return Error(ErrorCode::system, fmt::format("{}: out of memory", doing));
  }
  return Error(ErrorCode::internal, fmt::format("{}: internal error: {}", doing, error.what()),
               "this is a fault of the program; report it with the command and its files");
}

// Deadline and network are needed before there are ranks to complain about them with: what is wrong
// with them is thrown later.
struct Start {
  StartOptions options;
  std::optional<Error> problem;

  const StartOptions& checked() const {
    if (problem) throw Error(*problem);
    return options;
  }
};

Start start_of(const std::vector<std::string>& arguments) {
  Start start;
  try {
    start.options = parse_start_options(arguments);
  } catch (const Error& error) {
    start.problem = error;
  }
  return start;
}

AlgorithmTable algorithms_from(const std::string& topology) {
  return fastest_algorithms(TopologyFile::load(topology).links);
}

/// The same on every rank, from the file as rank 0 sees it.
AlgorithmTable shared_algorithms_from(const std::string& topology, MpiSession& session) {
  const auto world = session.world();
  const RankComms comms{session.rank(), session.topology(), world.get(), world.get()};
  std::string table;
  agree(comms, "reading --algo", [&] {
    if (session.rank() == 0) table = to_string(algorithms_from(topology));
  });
  return parse_algorithm_table(broadcast_text(comms, table));
}

int run_virtual(const Command& command, const std::vector<std::string>& arguments,
                const StartOptions& start) {
  refuse_unknown_peers(variable, "--virtual-ranks");
  limit_read_patience(start.launch.deadline / 2);
  // Threads send no messages, but what is named should be there.
  if (!start.algo_topology.empty()) algorithms_from(start.algo_topology);
  if (!start.unused.empty()) {
    warn_once(fmt::format("{} without meaning here: virtual ranks are threads and send no messages",
                          fmt::join(start.unused, ", ")));
  }
  launch_virtual(start.launch, [&](RankContext& context) { command.run(context, arguments); });
  return 0;
}

bool runs_alone(const std::string& name) {
  return std::any_of(commands().begin(), commands().end(),
                     [&](const Command& command) { return command.name == name && command.alone; });
}

// Where a launcher started several, all but the first have nothing to do.
int run_alone(const Command& command, const std::vector<std::string>& arguments) {
  if (!speaks_before_mpi(variable, parent_process())) return 0;
  LaunchOptions one;
  one.virtual_ranks = 1;
  launch_virtual(one, [&](RankContext& context) { command.run(context, arguments); });
  return 0;
}

// Ends a rank of an MPI job after an error: in order where all ranks know of it, else for all.
int end_mpi(MpiSession& session, const Error& error, bool known_to_all, bool speaks) {
  if (speaks) print_error(error.what());
  if (!known_to_all) session.abort(error.exit_status(), speaks);
  return error.exit_status();
}

// Ranks that give up before mpirun misses their peers' node leave it waiting for its daemon there.
void warn_if_mpirun_is_slower(const MpiSession& session, double deadline_s) {
  const std::optional<double> patience = launcher_keepalive_s();
  if (session.rank() > 0 || session.topology().nodes() < 2 || !patience || *patience < deadline_s) {
    return;
  }
  spdlog::warn(
      "mpirun notices the loss of a node after {} s, not before the {} s of --deadline are over; "
      "it would then not end for minutes: shorten OMPI_MCA_oob_tcp_keepalive_time, _intvl and "
      "_probes as scripts/mpi-env.sh does, or allow more",
      *patience, deadline_s);
}

int run_mpi(MpiSession& session, const std::string& name, const std::vector<std::string>& arguments,
            const Start& given) {
  const bool root = session.rank() == 0;
  bool started = false;
  try {
    if (session.size() == 1) refuse_unknown_peers(variable, "MPI");
    const Command& command = find_command(name);
    StartOptions start = given.checked();
    limit_read_patience(start.launch.deadline / 2);
    init_logging(session.rank());
    warn_if_mpirun_is_slower(session, start.deadline_s);
    if (!start.algo_topology.empty()) {
      start.launch.backends.algorithms = shared_algorithms_from(start.algo_topology, session);
    }
    const ProcessComms process(session, start.launch.backends);
    started = true;
    RankContext context{process.comms(), false, process.choices(), process.sums_vary_with_size(),
                        &session};
    command.run(context, arguments);
    return 0;
  } catch (const HelpRequest& help) {
    if (root) say_text(help.text);
    return 0;
  } catch (const AgreedError& error) {
    return end_mpi(session, error, true, root);
  } catch (const CommError& error) {
    return end_mpi(session, error, false, error.reporter());
  } catch (const Error& error) {
    // A wrong command line is the same on every rank, and none has begun to talk to another.
    const bool everywhere = !started || error.code() == ErrorCode::usage;
    return end_mpi(session, error, everywhere, !everywhere || root);
  } catch (const std::exception& error) {
    return end_mpi(session, of_foreign(error, fmt::format("{} on rank {}", name, session.rank())),
                   false, true);
  }
}

int run(int argc, char** argv) {
  const std::vector<std::string> all(argv + 1, argv + argc);
  if (!all.empty() && all.front() == "--version") {
    say("spd {}\n", SPD_VERSION);
    return 0;
  }
  const bool wants_help =
      all.empty() || all.front() == "--help" || all.front() == "-h" || all.front() == "help";
  const std::string name = wants_help ? "" : all.front();
  const std::vector<std::string> arguments(all.begin() + (all.empty() ? 0 : 1), all.end());
  const Start start = start_of(arguments);
  const bool is_virtual =
      start.options.launch.virtual_ranks > 0 ||
      std::any_of(arguments.begin(), arguments.end(),
                  [](const std::string& argument) { return argument.starts_with("--virtual-"); });
  if (wants_help || is_virtual || runs_alone(name)) {
    try {
      if (wants_help) {
        if (speaks_before_mpi(variable, parent_process())) say_text(help_text());
        return all.empty() ? 2 : 0;
      }
      init_logging(0);
      const Command& command = find_command(name);
      if (command.alone) return run_alone(command, arguments);
      return run_virtual(command, arguments, start.checked());
    } catch (const HelpRequest& help) {
      say_text(help.text);
      return 0;
    } catch (const Error& error) {
      print_error(error.what());
      return error.exit_status();
    } catch (const std::exception& error) {
      const Error named = of_foreign(error, name);
      print_error(named.what());
      return named.exit_status();
    }
  }
  const auto claim = launcher_claim(variable);
  init_logging(claim ? claim->rank : 0);  // MPI's start has its warnings, too
  MpiSession session(&argc, &argv, start.options.launch.deadline, start.options.nic);
  return run_mpi(session, name, arguments, start);
}

int run_and_flush(int argc, char** argv) {
  int status = 1;
  try {
    check_stdout();  // a closed one is found out before the work
    status = run(argc, argv);
    if (status == 0) check_stdout();
  } catch (const Error& error) {
    print_error(error.what());
    status = error.exit_status();
  } catch (const std::exception& error) {
    const Error named = of_foreign(error, "starting");
    print_error(named.what());
    status = named.exit_status();
  }
  // Threads that still wait for input, or tokenise, must not outlive what exit() takes apart.
  if (interrupted()) {
    std::fflush(nullptr);
    std::_Exit(status);
  }
  return status;
}

}  // namespace
}  // namespace spd

int main(int argc, char** argv) {
  spd::open_standard_descriptors();
  spd::catch_interrupts();
  return spd::run_and_flush(argc, argv);
}
