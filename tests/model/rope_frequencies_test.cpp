#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/config.h"
#include "tests/model/temp_dir.h"

namespace spd {
namespace {

using nlohmann::json;

// transformers works in f32: the base raised to a power is off by a few units in the last place
// (6e-8 each), and the blends of llama3 and YaRN subtract numbers of like size.
constexpr double kRelative = 2e-6;

TEST(RopeFrequencies, AreThoseOfTransformers) {
  std::ifstream in(std::string(SPD_FIXTURES) + "/rope_frequencies.json");
  const json cases = json::parse(in);
  ASSERT_GE(cases.size(), 20U);
  for (const json& one : cases) {
    SCOPED_TRACE(one["name"].get<std::string>());
    const TempDir dir;
    dir.write("config.json", one["config"].dump());
    const ModelConfig config = ModelConfig::load(dir.path());
    const RopeFrequencies made = rope_frequencies(config, one["length"]);
    const json& inverse = one["inverse"];
    ASSERT_EQ(made.inverse.size(), inverse.size());
    ASSERT_EQ(made.inverse.size(), static_cast<std::size_t>(config.head_dim / 2));
    for (std::size_t i = 0; i < inverse.size(); ++i) {
      const auto expected = inverse[i].get<double>();
      EXPECT_NEAR(made.inverse[i], expected, kRelative * expected) << "pair " << i;
    }
    EXPECT_NEAR(made.amplitude, one["amplitude"].get<double>(), 1e-12);
  }
}

ModelConfig rotating(RopeScaling scaling) {
  ModelConfig config;
  config.head_dim = 64;
  config.max_positions = 1024;
  config.rope = RopeConfig{};
  config.rope->scaling = scaling;
  config.rope->factor = 4.0;
  config.rope->original_max_positions = 1024;
  return config;
}

// Only dynamic scaling looks at the length, and only beyond what was trained on.
TEST(RopeFrequencies, LengthMattersToDynamicScalingAlone) {
  for (const RopeScaling scaling : {RopeScaling::none, RopeScaling::linear, RopeScaling::llama3,
                                    RopeScaling::yarn, RopeScaling::dynamic}) {
    const ModelConfig config = rotating(scaling);
    const auto within = rope_frequencies(config, 1024).inverse;
    EXPECT_EQ(rope_frequencies(config, 1).inverse, within);
    const auto beyond = rope_frequencies(config, 1025).inverse;
    EXPECT_EQ(beyond == within, scaling != RopeScaling::dynamic);
  }
}

// At four times the length, NTK scaling with factor 4 turns the slowest pair 13 times less far:
// stretch 4 * 4 - 3, by construction of the exponent d / (d - 2).
TEST(RopeFrequencies, DynamicScalingStretchesTheSlowestPair) {
  const ModelConfig config = rotating(RopeScaling::dynamic);
  const auto within = rope_frequencies(config, 1024).inverse;
  const auto beyond = rope_frequencies(config, 4096).inverse;
  EXPECT_DOUBLE_EQ(beyond.front(), within.front());
  EXPECT_NEAR(within.back() / beyond.back(), 13.0, 1e-9);
}

TEST(RopeFrequencies, LearnedPositionsHaveNone) {
  ModelConfig config;
  config.head_dim = 64;
  try {
    rope_frequencies(config, 10);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
  }
}

}  // namespace
}  // namespace spd
