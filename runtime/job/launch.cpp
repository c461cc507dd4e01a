#include "runtime/job/launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "comm/failure/collective.h"
#include "comm/thread_communicator.h"
#include "kernels/device/cpu_device.h"
#include "runtime/job/agreed_error.h"

namespace spd {

void launch_virtual(const LaunchOptions& options, const RankBody& body) {
  const Topology topology = Topology::contiguous(options.virtual_ranks, options.virtual_nodes);
  ThreadGroup group(topology, options.deadline);
  group.run([&](int rank) {
    const auto world = group.world(rank);
    const auto node = group.node(rank);
    RankContext context{{rank, topology, world.get(), node.get()},
                        true,
                        {{"all ranks", "thread", "asked for by --virtual-ranks"}}};
    body(context);
  });
}

namespace {

// What a rank tells its peers about a phase, of fixed size so that one all-gather carries it.
struct Outcome {
  std::int32_t failed = 0;
  ErrorCode code = ErrorCode::internal;
  std::array<char, 2040> message{};

  void set(ErrorCode error_code, const std::string& text) {
    failed = 1;
    code = error_code;
    std::strncpy(message.data(), text.c_str(), message.size() - 1);
  }
};

}  // namespace

void agree(const RankComms& comms, const char* phase, const std::function<void()>& step) {
  Outcome mine;
  try {
    step();
  } catch (const CommError&) {
    throw;  // the peers are out of step already: there is nobody to agree with
  } catch (const Error& error) {
    mine.set(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    mine.set(ErrorCode::system, fmt::format("out of memory while {}", phase));
  } catch (const std::exception& error) {
    mine.set(ErrorCode::internal,
             fmt::format("internal error while {}: {}\n  remedy: this is a fault of the program; "
                         "report it with the command and its files",
                         phase, error.what()));
  }
  CpuDevice device;
  const auto stream = device.make_stream();
  std::vector<Outcome> all(comms.ranks());
  comms.world->all_gather(&mine, all.data(), sizeof(Outcome), *stream, {phase});
  const auto failed = [](const Outcome& outcome) { return outcome.failed != 0; };
  const auto first = std::find_if(all.begin(), all.end(), failed);
  if (first == all.end()) return;
  const bool everywhere = std::all_of(all.begin(), all.end(), failed);
  const std::string message(first->message.data());
  // An interruption says itself which rank was asked.
  const bool as_it_is = everywhere || first->code == ErrorCode::interrupted;
  throw AgreedError(first->code,
                    as_it_is ? message : fmt::format("rank {}: {}", first - all.begin(), message));
}

std::vector<std::int32_t> broadcast_ids(const RankComms& comms, std::vector<std::int32_t> ids) {
  CpuDevice device;
  const auto stream = device.make_stream();
  std::uint64_t count = ids.size();
  comms.world->broadcast(&count, sizeof(count), 0, *stream, {"input"});
  ids.resize(count);
  if (count > 0) {
    comms.world->broadcast(ids.data(), count * sizeof(std::int32_t), 0, *stream, {"input"});
  }
  return ids;
}

std::vector<std::string> gather_texts(const RankComms& comms, const std::string& mine) {
  CpuDevice device;
  const auto stream = device.make_stream();
  const std::uint64_t size = mine.size();
  std::vector<std::uint64_t> sizes(comms.ranks());
  comms.world->all_gather(&size, sizes.data(), sizeof size, *stream, {"texts"});
  const std::uint64_t longest = *std::max_element(sizes.begin(), sizes.end());
  std::vector<std::string> texts(comms.ranks());
  if (longest == 0) return texts;
  std::string padded = mine;
  padded.resize(longest);
  std::string all(longest * comms.ranks(), '\0');
  comms.world->all_gather(padded.data(), all.data(), longest, *stream, {"texts"});
  for (std::size_t r = 0; r < texts.size(); ++r) texts[r] = all.substr(r * longest, sizes[r]);
  return texts;
}

std::string broadcast_text(const RankComms& comms, std::string value) {
  CpuDevice device;
  const auto stream = device.make_stream();
  std::uint64_t count = value.size();
  comms.world->broadcast(&count, sizeof(count), 0, *stream, {"input"});
  value.resize(count);
  if (count > 0) comms.world->broadcast(value.data(), count, 0, *stream, {"input"});
  return value;
}

}  // namespace spd
