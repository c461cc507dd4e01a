// Run by mpirun: a small model distilled on real ranks, and by the first of them on virtual ones.
// Ends with 0 where both learned the same.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "comm/backends.h"
#include "comm/mpi_session.h"
#include "kernels/device/error.h"
#include "runtime/distillation/distillation.h"
#include "tests/runtime/all_ranks.h"
#include "tests/runtime/virtual_engine.h"

namespace spd {
namespace {

std::vector<RankRepair> distilled(RankContext& context) {
  EngineOptions options = exact_options(fixture_model("llama"));
  options.drop = {"attn:all"};
  options.threads = 1;
  options.pin = false;
  DistillOptions distill;
  distill.set = {.window = 24, .windows = 8, .held_out = 2};
  distill.training.clip = 0.1;  // so that the gradient's length over all ranks matters, too
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < 300; ++i) tokens.push_back(i * i % 131);
  Engine engine(context, options, distill.set.window);
  RankRepair repair(engine.config().blocks);
  distill_blocks(engine, tokens, distill, {0, 2}, repair, {});
  distill_logits(engine, tokens, distill, repair, {});
  return all_ranks(engine, repair);
}

double largest_difference(const std::vector<RankRepair>& a, const std::vector<RankRepair>& b) {
  double largest = 0.0;
  for (std::size_t rank = 0; rank < a.size(); ++rank) {
    for (std::size_t block = 0; block < a[rank].size(); ++block) {
      for (const auto& [name, values] : a[rank][block].weights) {
        const auto& others = b.at(rank).at(block).weights.at(name).values;
        for (std::size_t i = 0; i < others.size(); ++i) {
          largest = std::max(largest, std::abs(static_cast<double>(values.values[i]) - others[i]));
        }
      }
    }
  }
  return largest;
}

int compare(MpiSession& session) {
  const ProcessComms process(session, {});
  RankContext context{process.comms(), false, process.choices()};
  const auto real = distilled(context);
  if (!context.root()) return 0;
  std::vector<RankRepair> on_threads;
  launch_virtual({.virtual_ranks = context.ranks()}, [&](RankContext& rank) {
    auto all = distilled(rank);
    if (rank.root()) on_threads = std::move(all);
  });
  // Sums over ranks may be taken in another order; Adam turns what is near zero into whole steps.
  constexpr double kTolerance = 1e-5;
  const double difference = largest_difference(real, on_threads);
  fmt::print("{} ranks: weights differ by at most {:.2e}\n", context.ranks(), difference);
  return real.size() == on_threads.size() && difference < kTolerance ? 0 : 1;
}

}  // namespace
}  // namespace spd

int main(int argc, char** argv) {
  spd::MpiSession session(&argc, &argv, spd::kDefaultDeadline);
  try {
    return spd::compare(session);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    session.abort(1, true);
    return 1;
  }
}
