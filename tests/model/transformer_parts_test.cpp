// forward() taken apart: single blocks run again from kept states, and what an observer is shown.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/model/logits.h"
#include "tests/model/virtual_run.h"

namespace spd {
namespace {

const std::filesystem::path kModels = std::filesystem::path(SPD_FIXTURES) / "models";
constexpr double kTolerance = 2e-4;  // f32 sums in another order, as in transformer_test

std::vector<std::int32_t> input(const std::string& model) {
  std::ifstream stream(kModels / model / "expected.json");
  return nlohmann::json::parse(stream)["sequences"][0]["input"].get<std::vector<std::int32_t>>();
}

std::vector<float> on_host(ConstActivations view) {
  std::vector<float> values;
  for (std::int64_t row = 0; row < view.rows; ++row) {
    values.insert(values.end(), view.row(row), view.row(row) + view.cols);
  }
  return values;
}

// A mix of levels that leaves blocks with something not yet summed.
SyncLevels mixed_levels(std::int64_t blocks) {
  SyncLevels levels = SyncLevels::all_full(blocks);
  for (std::int64_t block = 0; block < blocks; ++block) {
    levels.at(block, SyncPoint::attn) = block % 2 == 0 ? SyncLevel::drop : SyncLevel::node;
    if (block + 1 < blocks)
      levels.at(block, SyncPoint::mlp) = block % 2 == 0 ? SyncLevel::node : SyncLevel::drop;
  }
  return levels;
}

// Keeps all it is shown, and checks what can be checked on the spot.
class Recorder : public SyncObserver {
 public:
  explicit Recorder(const RankComms& comms) : comms_(comms) {}

  void before_sync(const SyncPassage& passage, Stream& stream) override {
    ASSERT_EQ(passage.input.rows, passage.view.rows);
    truth_ = on_host(passage.delta);
    comms_.world->all_reduce(truth_.data(), truth_.size(), stream, {"test"});
    const auto base = on_host(passage.base);
    for (std::size_t i = 0; i < base.size(); ++i) truth_[i] += base[i];
    before_ = on_host(passage.view);
    ++passed;
  }
  void after_sync(const SyncPassage& passage, Stream&) override {
    const auto after = on_host(passage.view);
    const auto& expected = passage.level == SyncLevel::full ? truth_ : before_;
    if (passage.level == SyncLevel::node) return;
    EXPECT_LT(relative_difference({after}, {expected}), kTolerance);
  }

  int passed = 0;

 private:
  const RankComms& comms_;
  std::vector<float> truth_, before_;
};

class InParts : public testing::TestWithParam<const char*> {};

TEST_P(InParts, BlocksOneByOneFromKeptStatesAreForward) {
  const auto model = kModels / GetParam();
  const ModelConfig config = ModelConfig::load(model);
  const auto once = input(GetParam());
  // Two windows in one step.
  const auto length = static_cast<std::int64_t>(once.size());
  std::vector<std::int32_t> tokens(once);
  tokens.insert(tokens.end(), once.rbegin(), once.rend());
  const Segment segments[] = {{0, length, 0, 0}, {length, length, 1, 0}};

  const Topology topology = Topology::contiguous(4, 2);
  const Partition partition = Partition::contiguous(config, 4);
  const SyncLevels levels = mixed_levels(config.blocks);
  ThreadGroup group(topology);
  group.run([&](int rank) {
    const auto world = group.world(rank);
    const auto node = group.node(rank);
    const RankComms comms{rank, topology, world.get(), node.get()};
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto operators = make_cpu_operators(device, {1, {}, MatmulMode::f32});
    const auto source = make_checkpoint_source(Checkpoint::open(model));
    TransformerOptions options;
    options.max_tokens = 2 * length;
    options.max_length = length;
    Transformer transformer(config, partition,
                            load_shard(config, partition, rank, *source, *operators), *operators,
                            comms, options);
    KvCache cache(device, config, partition, rank, {2, length, DType::f32});
    const auto whole = on_host(transformer.forward(tokens, segments, levels, cache, *stream));

    transformer.begin(tokens, segments, *stream);
    ResidualState state = transformer.save(*stream);
    ConstActivations last;
    for (std::int64_t block = 0; block < config.blocks; ++block) {
      for (int again = 0; again < 2; ++again) {  // running a block twice must not matter
        transformer.begin(state, segments, *stream);
        last = transformer.run(block, block + 1, levels, cache, *stream);
      }
      state = transformer.save(*stream);
    }
    EXPECT_EQ(on_host(last), whole);

    Recorder recorder(comms);
    transformer.set_observer(&recorder);
    const auto observed = on_host(transformer.forward(tokens, segments, levels, cache, *stream));
    EXPECT_EQ(recorder.passed, 2 * config.blocks);
    EXPECT_LT(relative_difference({observed}, {whole}), kTolerance);
  });
}

INSTANTIATE_TEST_SUITE_P(Models, InParts, testing::Values("llama", "opt", "qwen3"));

}  // namespace
}  // namespace spd
