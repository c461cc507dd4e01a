// The standard error of a perplexity by bootstrap, with lm-evaluation-harness's own numbers: its
// 100,000 resamples are drawn by Python's random.Random(seed).choices, a thousand a seed.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace spd {

/// Python's random.Random(seed): the Mersenne Twister mt19937, seeded by init_by_array
/// (Matsumoto and Nishimura, 2002).
class PythonRandom {
 public:
  explicit PythonRandom(std::uint32_t seed);
  /// random(): 53 bits in [0, 1).
  double next();

 private:
  static constexpr std::size_t kWords = 624;
  std::uint32_t word();
  void refill();

  std::array<std::uint32_t, kWords> state_{};
  std::size_t used_ = kWords;
};

inline constexpr int kHarnessResamples = 100000;

/// Sample standard deviation over `resamples` of exp(-mean of a resample), for each of `sides`,
/// whose samples (log-likelihoods of the same items) are drawn alike: what the harness gives each
/// of them with bootstrap_iters = resamples. Less than a thousand are drawn in one go; above, a
/// rest of a thousand is left out, as there. NaN for fewer than two resamples.
std::vector<double> bootstrap_perplexity_stderr(std::span<const std::span<const double>> sides,
                                                int resamples = kHarnessResamples);

}  // namespace spd
