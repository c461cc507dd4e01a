#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/device/error.h"
#include "model/config.h"

namespace spd {
namespace {

std::vector<double> unscaled(double theta, std::int64_t head_dim) {
  std::vector<double> inverse(static_cast<std::size_t>(head_dim / 2));
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    inverse[i] = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  }
  return inverse;
}

/// "NTK-aware" scaling: beyond the length trained on, the base grows so that the slowest pair is
/// stretched by just as much as the sequence is.
double dynamic_theta(const RopeConfig& rope, std::int64_t head_dim, std::int64_t length) {
  const auto trained = static_cast<double>(rope.original_max_positions);
  const double stretch =
      rope.factor * std::max(static_cast<double>(length), trained) / trained - (rope.factor - 1.0);
  const auto dim = static_cast<double>(head_dim);
  return rope.theta * std::pow(stretch, dim / (dim - 2.0));
}

/// LLaMA 3.1: slow pairs are divided by the factor, fast ones kept, those between blended by how
/// many times they turn within the length trained on.
void scale_llama3(const RopeConfig& rope, std::vector<double>& inverse) {
  const auto trained = static_cast<double>(rope.original_max_positions);
  for (double& frequency : inverse) {
    const double turns = trained * frequency / (2.0 * std::numbers::pi);
    const double keep = std::clamp(
        (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0, 1.0);
    frequency = (1.0 - keep) * frequency / rope.factor + keep * frequency;
  }
}

/// YaRN (arXiv 2309.00071, section 3.2): as above, but the blend is linear in the pair's index,
/// between the indices that turn beta_fast and beta_slow times.
void scale_yarn(const RopeConfig& rope, std::int64_t head_dim, std::vector<double>& inverse) {
  const auto dim = static_cast<double>(head_dim);
  const auto index_of_turns = [&](double turns) {
    const auto trained = static_cast<double>(rope.original_max_positions);
    return dim * std::log(trained / (turns * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(rope.theta));
  };
  double low = index_of_turns(rope.beta_fast);
  double high = index_of_turns(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;  // as the reference code does, lest we divide by zero
  for (std::size_t i = 0; i < inverse.size(); ++i) {
    const double divide = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    inverse[i] = divide * inverse[i] / rope.factor + (1.0 - divide) * inverse[i];
  }
}

}  // namespace

RopeFrequencies rope_frequencies(const ModelConfig& config, std::int64_t length) {
  if (!config.rope) {
    throw Error(ErrorCode::internal, "rope_frequencies: the model's positions are learned");
  }
  const RopeConfig& rope = *config.rope;
  const bool dynamic = rope.scaling == RopeScaling::dynamic;
  RopeFrequencies result;
  result.inverse = unscaled(dynamic ? dynamic_theta(rope, config.head_dim, length) : rope.theta,
                            config.head_dim);
  switch (rope.scaling) {
    case RopeScaling::none:
    case RopeScaling::dynamic:
      break;
    case RopeScaling::linear:
      for (double& frequency : result.inverse) frequency /= rope.factor;
      break;
    case RopeScaling::llama3:
      scale_llama3(rope, result.inverse);
      break;
    case RopeScaling::yarn:
      scale_yarn(rope, config.head_dim, result.inverse);
      result.amplitude = rope.attention_factor.value_or(1.0);
      break;
  }
  return result;
}

}  // namespace spd
