// Deterministic payloads for collective tests, known to every rank without communication.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "comm/wire_format.h"

namespace spd {

/// Values of mixed sign and size, different for every rank, round and index.
inline std::vector<float> payload(int rank, std::uint64_t round, std::size_t count) {
  std::vector<float> values(count);
  std::uint64_t state = 0x9e3779b97f4a7c15ull * (round * 64 + static_cast<unsigned>(rank) + 1);
  for (float& value : values) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    const auto mantissa = static_cast<float>(static_cast<std::int32_t>(state >> 32)) / 2147483648.f;
    value = std::ldexp(mantissa, static_cast<int>(state >> 29 & 7) - 4);
  }
  return values;
}

/// What a sum of payloads must be, and how far rounding in any order may take it.
struct ExpectedSum {
  std::vector<double> sum;
  std::vector<double> tolerance;
};

/// Over the ranks of the list. A sum of n floats in any order errs by at most (n - 1) * eps times
/// the sum of magnitudes (Higham, Accuracy and Stability, section 4.2), to first order.
inline ExpectedSum expected_sum(const std::vector<int>& ranks, std::uint64_t round,
                                std::size_t count) {
  ExpectedSum expected{std::vector<double>(count), std::vector<double>(count)};
  for (int rank : ranks) {
    const std::vector<float> values = payload(rank, round, count);
    for (std::size_t i = 0; i < count; ++i) {
      expected.sum[i] += values[i];
      expected.tolerance[i] += std::abs(values[i]);
    }
  }
  for (double& tolerance : expected.tolerance) {
    tolerance *= static_cast<double>(ranks.size()) * std::numeric_limits<float>::epsilon();
  }
  return expected;
}

/// What an all-reduce in a wire format gives to the bit: `contributions` are the ranks whose
/// payloads are summed before they travel.
inline std::vector<float> encoded_sum(const std::vector<std::vector<int>>& contributions,
                                      std::uint64_t round, std::size_t count, WireFormat wire) {
  std::vector<float> sum(count);
  for (const auto& ranks : contributions) {
    std::vector<float> part(count);
    for (int rank : ranks) {
      const std::vector<float> more = payload(rank, round, count);
      for (std::size_t i = 0; i < count; ++i)
        part[i] = rank == ranks[0] ? more[i] : part[i] + more[i];
    }
    round_trip(wire, part.data(), count);
    for (std::size_t i = 0; i < count; ++i)
      sum[i] = &ranks == &contributions[0] ? part[i] : sum[i] + part[i];
  }
  round_trip(wire, sum.data(), count);
  return sum;
}

/// Index of the first element that is off, or -1.
inline std::ptrdiff_t first_wrong(const float* got, const ExpectedSum& expected) {
  for (std::size_t i = 0; i < expected.sum.size(); ++i) {
    // Written so that a NaN is wrong.
    if (!(std::abs(got[i] - expected.sum[i]) <= expected.tolerance[i])) {
      return static_cast<std::ptrdiff_t>(i);
    }
  }
  return -1;
}

/// FNV-1a over the bytes: equal on all ranks means bit-identical.
inline std::uint64_t fingerprint(const void* data, std::size_t bytes) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (std::size_t i = 0; i < bytes; ++i) {
    hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3ull;
  }
  return hash;
}

}  // namespace spd
