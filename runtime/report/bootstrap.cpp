#include "runtime/report/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace spd {

PythonRandom::PythonRandom(std::uint32_t seed) {
  constexpr std::uint32_t kFirstSeed = 19650218;
  state_[0] = kFirstSeed;
  for (std::uint32_t i = 1; i < kWords; ++i) {
    state_[i] = 1812433253U * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  }
  // init_by_array with a key of one word, the seed: its index stays 0.
  std::size_t i = 1;
  const auto advance = [&] {
    if (++i < kWords) return;
    state_[0] = state_[kWords - 1];
    i = 1;
  };
  for (std::size_t k = 0; k < kWords; ++k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525U)) + seed;
    advance();
  }
  for (std::size_t k = 0; k < kWords - 1; ++k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941U)) -
                static_cast<std::uint32_t>(i);
    advance();
  }
  state_[0] = 0x80000000U;
}

void PythonRandom::refill() {
  constexpr std::size_t kFar = 397;
  const auto mixed = [&](std::size_t i, std::size_t next) {
    const std::uint32_t y = (state_[i] & 0x80000000U) | (state_[next] & 0x7FFFFFFFU);
    return (y >> 1) ^ ((y & 1U) * 0x9908B0DFU);
  };
  for (std::size_t i = 0; i < kWords - kFar; ++i) state_[i] = state_[i + kFar] ^ mixed(i, i + 1);
  for (std::size_t i = kWords - kFar; i < kWords - 1; ++i) {
    state_[i] = state_[i + kFar - kWords] ^ mixed(i, i + 1);
  }
  state_[kWords - 1] = state_[kFar - 1] ^ mixed(kWords - 1, 0);
  used_ = 0;
}

std::uint32_t PythonRandom::word() {
  if (used_ == kWords) refill();
  std::uint32_t y = state_[used_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9D2C5680U;
  y ^= (y << 15) & 0xEFC60000U;
  return y ^ (y >> 18);
}

double PythonRandom::next() {
  const std::uint32_t high = word() >> 5;
  const std::uint32_t low = word() >> 6;
  return (high * 67108864.0 + low) / 9007199254740992.0;
}

namespace {

double sample_deviation(const std::vector<double>& values) {
  if (values.size() < 2) return std::numeric_limits<double>::quiet_NaN();
  const auto count = static_cast<double>(values.size());
  double sum = 0.0;
  for (const double value : values) sum += value;
  double squares = 0.0;
  for (const double value : values) squares += (value - sum / count) * (value - sum / count);
  return std::sqrt(squares / (count - 1.0));
}

}  // namespace

std::vector<double> bootstrap_perplexity_stderr(std::span<const std::span<const double>> sides,
                                                int resamples) {
  constexpr int kChunk = 1000;
  std::vector<std::vector<double>> perplexities(sides.size());
  const std::size_t items = sides.empty() ? 0 : sides.front().size();
  const int chunk = std::min(kChunk, resamples);
  std::vector<std::size_t> drawn(items);
  for (int seed = 0; chunk > 0 && items > 0 && seed < resamples / chunk; ++seed) {
    PythonRandom random(static_cast<std::uint32_t>(seed));
    for (int i = 0; i < chunk; ++i) {
      for (std::size_t& item : drawn) {
        item = static_cast<std::size_t>(random.next() * static_cast<double>(items));
      }
      for (std::size_t side = 0; side < sides.size(); ++side) {
        double sum = 0.0;
        for (const std::size_t item : drawn) sum += sides[side][item];
        perplexities[side].push_back(std::exp(-sum / static_cast<double>(items)));
      }
    }
  }
  std::vector<double> deviations;
  for (const auto& values : perplexities) deviations.push_back(sample_deviation(values));
  return deviations;
}

}  // namespace spd
