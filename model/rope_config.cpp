#include <fmt/format.h>

#include <array>
#include <cmath>

#include "model/config_families.h"

namespace spd {
namespace {

constexpr const char* kOtherModel = "use a model that does without it";

struct ScalingName {
  std::string_view name;
  RopeScaling scaling;
};
constexpr std::array kScalings{
    ScalingName{"default", RopeScaling::none},    ScalingName{"linear", RopeScaling::linear},
    ScalingName{"dynamic", RopeScaling::dynamic}, ScalingName{"llama3", RopeScaling::llama3},
    ScalingName{"yarn", RopeScaling::yarn},
};

RopeScaling read_scaling(const JsonObject& rope) {
  // Older files say "type"; files written by both old and new versions hold both.
  const std::string key = rope.has("rope_type") || !rope.has("type") ? "rope_type" : "type";
  const std::string name = rope.string_or(key, "default");
  std::string known;
  for (const ScalingName& row : kScalings) {
    if (row.name == name) return row.scaling;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
  }
  rope.fail(key, fmt::format("\"{}\" is not supported; supported: {}", name, known), kOtherModel);
}

double read_factor(const JsonObject& rope) {
  const double factor = rope.number("factor", 0.0);
  if (factor < 1.0) rope.fail("factor", fmt::format("({}) must be at least 1", factor));
  return factor;
}

/// YaRN's amplitude for a stretch of `scale` (arXiv 2309.00071, section 3.4).
double yarn_amplitude(double scale, double weight) {
  return scale <= 1.0 ? 1.0 : 0.1 * weight * std::log(scale) + 1.0;
}

void read_yarn(const JsonObject& rope, const ModelConfig& config, RopeConfig& result) {
  // "factor" may be left to follow from the two lengths.
  result.factor = rope.has("factor") || !rope.contains("factor")
                      ? read_factor(rope)
                      : static_cast<double>(config.max_positions) /
                            static_cast<double>(result.original_max_positions);
  result.beta_fast = rope.number_or("beta_fast", 0.0, result.beta_fast);
  result.beta_slow = rope.number_or("beta_slow", 0.0, result.beta_slow);
  if (result.beta_fast < result.beta_slow) {
    rope.fail("beta_fast", fmt::format("({}) must not be below beta_slow ({})", result.beta_fast,
                                       result.beta_slow));
  }
  result.truncate = rope.boolean_or("truncate", true);
  // Zero counts as not given.
  const double mscale = rope.number_or("mscale", -1.0, 0.0);
  const double mscale_all = rope.number_or("mscale_all_dim", -1.0, 0.0);
  if (rope.has("attention_factor")) {
    result.attention_factor = rope.number("attention_factor", 0.0);
  } else if (mscale > 0.0 && mscale_all > 0.0) {
    result.attention_factor =
        yarn_amplitude(result.factor, mscale) / yarn_amplitude(result.factor, mscale_all);
  } else {
    result.attention_factor = yarn_amplitude(result.factor, 1.0);
  }
  constexpr double kMostAmplitude = 1e6;  // cosines and sines are f32
  if (!(*result.attention_factor > 0.0 && *result.attention_factor < kMostAmplitude)) {
    rope.fail("attention_factor", fmt::format("(given, or as mscale and mscale_all_dim make it) is "
                                              "{}, out of range",
                                              *result.attention_factor));
  }
}

void read_parameters(const JsonObject& json, const JsonObject& rope, const ModelConfig& config,
                     RopeConfig& result) {
  for (const char* nested : {"full_attention", "sliding_attention"}) {
    if (!rope.contains(nested)) continue;
    rope.fail(nested, "(rotation by layer type) is not supported", kOtherModel);
  }
  result.scaling = read_scaling(rope);
  result.theta = rope.number_or("rope_theta", 0.0, result.theta);
  if (rope.number_or("partial_rotary_factor", 0.0, 1.0) != 1.0) {
    rope.fail("partial_rotary_factor", "other than 1 is not supported", kOtherModel);
  }
  if (result.scaling == RopeScaling::none) return;

  // As transformers has it: a top-level length wins over the one among the rope's parameters.
  const std::string key = "original_max_position_embeddings";
  const std::int64_t inner = rope.integer_or(key, 1, config.max_positions);
  result.original_max_positions = json.integer_or(key, 1, inner);
  switch (result.scaling) {
    case RopeScaling::none:
      break;
    case RopeScaling::linear:
      result.factor = read_factor(rope);
      break;
    case RopeScaling::dynamic:
      result.factor = read_factor(rope);
      result.original_max_positions = config.max_positions;
      if (config.head_dim <= 2) rope.fail("rope_type", "\"dynamic\" needs a head_dim above 2");
      break;
    case RopeScaling::llama3:
      result.factor = read_factor(rope);
      result.low_freq_factor = rope.number("low_freq_factor", 0.0);
      result.high_freq_factor = rope.number("high_freq_factor", 0.0);
      if (result.high_freq_factor <= result.low_freq_factor) {
        rope.fail("high_freq_factor", fmt::format("({}) must be above low_freq_factor ({})",
                                                  result.high_freq_factor, result.low_freq_factor));
      }
      break;
    case RopeScaling::yarn:
      read_yarn(rope, config, result);
      break;
  }
}

}  // namespace

RopeConfig read_rope(const JsonObject& json, const ModelConfig& config) {
  RopeConfig result;
  result.theta = json.number_or("rope_theta", 0.0, result.theta);
  if (json.number_or("partial_rotary_factor", 0.0, 1.0) != 1.0) {
    json.fail("partial_rotary_factor", "other than 1 is not supported", kOtherModel);
  }
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!json.has(key)) continue;
    const JsonObject rope = json.object(key);
    if (rope.value().empty()) continue;
    read_parameters(json, rope, config, result);
    break;
  }
  if (result.theta <= 1.0) {
    json.fail("rope_theta", fmt::format("({}) must be above 1", result.theta));
  }
  return result;
}

}  // namespace spd
