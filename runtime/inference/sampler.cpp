#include "runtime/inference/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/device/error.h"

namespace spd {

void SamplingOptions::validate() const {
  if (!(temperature >= 0.0)) {
    throw Error(ErrorCode::usage, fmt::format("--temperature {} is negative", temperature),
                "use 0 for greedy decoding, about 0.7 for varied text");
  }
  if (top_k < 0) {
    throw Error(ErrorCode::usage, fmt::format("--top-k {} is negative", top_k),
                "use 0 to keep all tokens");
  }
  if (!(top_p > 0.0 && top_p <= 1.0)) {
    throw Error(ErrorCode::usage, fmt::format("--top-p {} is not in (0, 1]", top_p),
                "use 1 to keep all tokens");
  }
}

Sampler::Sampler(const SamplingOptions& options, Operators& operators, const RankComms& comms,
                 VocabRange range, std::int64_t vocab)
    : options_(options), operators_(operators), comms_(comms), range_(range), vocab_(vocab) {}

namespace {

constexpr CallSite kSite{"sampling"};
constexpr float kLargestNoise = 23.0f;  // -log(-log(u)) of the largest u below 1 is under 22.2

std::uint64_t mix(std::uint64_t x) {  // the finaliser of splitmix64
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.index < b.index);
}

}  // namespace

// The k likeliest tokens of every row over all ranks, likeliest first, as vocabulary ids:
// [rows * min(k, vocab)].
std::vector<Candidate> Sampler::gather(ConstActivations logits, std::int64_t k, Stream& stream) {
  // Ranks may hold fewer rows than k: what is missing is filled with candidates that never win.
  const std::int64_t local = std::min(k, range_.count);
  const auto own = operators_.top_k(logits, local, stream);
  constexpr Candidate kNone{-1, -std::numeric_limits<float>::infinity()};
  std::vector<Candidate> send(logits.rows * k, kNone);
  for (std::int64_t row = 0; row < logits.rows; ++row) {
    for (std::int64_t i = 0; i < local; ++i) {
      Candidate candidate = own[row * local + i];
      candidate.index += static_cast<std::int32_t>(range_.first);
      send[row * k + i] = candidate;
    }
  }
  std::vector<Candidate> all(send.size() * comms_.ranks());
  comms_.world->all_gather(send.data(), all.data(), send.size() * sizeof(Candidate), stream, kSite);

  const std::int64_t keep = std::min(k, vocab_);
  std::vector<Candidate> best;
  std::vector<Candidate> row_all;
  for (std::int64_t row = 0; row < logits.rows; ++row) {
    row_all.clear();
    for (int rank = 0; rank < comms_.ranks(); ++rank) {
      const Candidate* first = all.data() + rank * send.size() + row * k;
      std::copy_if(first, first + k, std::back_inserter(row_all),
                   [](const Candidate& candidate) { return candidate.index >= 0; });
    }
    std::partial_sort(row_all.begin(), row_all.begin() + keep, row_all.end(), likelier);
    best.insert(best.end(), row_all.begin(), row_all.begin() + keep);
  }
  return best;
}

// Gumbel noise, -log(-log(u)) with u in (0, 1) a hash of the key and the token.
float Sampler::noise(const SampleKey& key, std::int32_t id) const {
  std::uint64_t hash = mix(options_.seed);
  hash = mix(hash ^ key.request);
  hash = mix(hash ^ key.step);
  hash = mix(hash ^ static_cast<std::uint64_t>(id));
  const double u = (static_cast<double>(hash >> 33) + 0.5) * 0x1p-31;
  return static_cast<float>(-std::log(-std::log(u)));
}

std::int32_t Sampler::draw(const std::vector<Candidate>& kept, const SampleKey& key) const {
  Candidate best{-1, -std::numeric_limits<float>::infinity()};
  for (const Candidate& candidate : kept) {
    const Candidate noisy{
        candidate.index,
        candidate.logit / static_cast<float>(options_.temperature) + noise(key, candidate.index)};
    if (best.index < 0 || likelier(noisy, best)) best = noisy;
  }
  return best.index;
}

std::vector<std::int32_t> Sampler::sample(ConstActivations logits,
                                          const std::vector<SampleKey>& keys, Stream& stream) {
  const bool greedy = options_.temperature == 0.0;
  if (!greedy && options_.top_p < 1.0) return sample_top_p(logits, keys, stream);
  if (!greedy && options_.top_k == 0) return sample_unfiltered(logits, keys, stream);
  const std::int64_t k = greedy ? 1 : std::min(options_.top_k, vocab_);
  const auto best = gather(logits, k, stream);
  std::vector<std::int32_t> ids;
  for (std::int64_t row = 0; row < logits.rows; ++row) {
    const auto first = best.begin() + row * k;
    ids.push_back(greedy ? first->index : draw({first, first + k}, keys[row]));
  }
  return ids;
}

// Every rank draws from its own range; the likeliest of the draws is the draw from the whole.
std::vector<std::int32_t> Sampler::sample_unfiltered(ConstActivations logits,
                                                     const std::vector<SampleKey>& keys,
                                                     Stream& stream) {
  const auto scale = static_cast<float>(1.0 / options_.temperature);
  std::vector<Candidate> send(logits.rows);
  std::vector<float> row(logits.cols);
  for (std::int64_t i = 0; i < logits.rows; ++i) {
    operators_.device().download(row.data(), logits.row(i), row.size() * sizeof(float), stream);
    stream.synchronize();
    Candidate best{-1, -std::numeric_limits<float>::infinity()};
    for (std::size_t j = 0; j < row.size(); ++j) {
      const float logit = row[j] * scale;
      if (logit + kLargestNoise < best.logit) continue;  // cannot win: spare the logarithms
      const auto id = static_cast<std::int32_t>(range_.first + static_cast<std::int64_t>(j));
      const Candidate noisy{id, logit + noise(keys[i], id)};
      if (best.index < 0 || likelier(noisy, best)) best = noisy;
    }
    send[i] = best;
  }
  std::vector<Candidate> all(send.size() * comms_.ranks());
  comms_.world->all_gather(send.data(), all.data(), send.size() * sizeof(Candidate), stream, kSite);
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < send.size(); ++i) {
    Candidate best = all[i];
    for (int rank = 1; rank < comms_.ranks(); ++rank) {
      const Candidate& other = all[rank * send.size() + i];
      if (likelier(other, best)) best = other;
    }
    ids.push_back(best.index);
  }
  return ids;
}

// As transformers does it: temperature, then top-k, then the smallest set of likeliest tokens whose
// probability (after top-k) reaches p. Rows whose candidates do not hold that set get more of them.
std::vector<std::int32_t> Sampler::sample_top_p(ConstActivations logits,
                                                const std::vector<SampleKey>& keys,
                                                Stream& stream) {
  const double inverse = 1.0 / options_.temperature;
  const bool limited = options_.top_k > 0 && options_.top_k < vocab_;
  std::vector<std::int32_t> ids(logits.rows, -1);
  std::vector<double> totals;
  const auto finish = [&](std::int64_t row, const Candidate* first, std::int64_t k) {
    const auto weight = [&](std::int64_t i) {
      return std::exp((first[i].logit - first[0].logit) * inverse);
    };
    double total = 0.0, mass = 0.0;
    for (std::int64_t i = 0; limited && i < k; ++i) total += weight(i);
    const double wanted = options_.top_p * (limited ? total : totals[row]);
    std::int64_t count = 0;
    while (count < k && mass < wanted) mass += weight(count++);
    if (limited || k == vocab_ || mass >= wanted) {
      ids[row] = draw({first, first + count}, keys[row]);
    }
  };
  std::int64_t k = std::min<std::int64_t>(limited ? options_.top_k : 64, vocab_);
  const auto best = gather(logits, k, stream);
  if (!limited) totals = sum_weights(logits, best, k, stream);
  for (std::int64_t row = 0; row < logits.rows; ++row) finish(row, best.data() + row * k, k);
  while (k < vocab_) {
    k = std::min(4 * k, vocab_);
    for (std::int64_t row = 0; row < logits.rows; ++row) {
      if (ids[row] >= 0) continue;
      finish(row, gather(logits.row_range(row, 1), k, stream).data(), k);
    }
  }
  return ids;
}

// The sum over the vocabulary of e^((logit - the row's largest) / temperature), by row. At a
// temperature other than 1 it does not follow from log_sum_exp: each rank sums its own range.
std::vector<double> Sampler::sum_weights(ConstActivations logits,
                                         const std::vector<Candidate>& best, std::int64_t k,
                                         Stream& stream) {
  const double inverse = 1.0 / options_.temperature;
  std::vector<double> own(logits.rows, 0.0), totals(logits.rows, 0.0);
  std::vector<float> row(logits.cols);
  for (std::int64_t i = 0; i < logits.rows; ++i) {
    operators_.device().download(row.data(), logits.row(i), row.size() * sizeof(float), stream);
    stream.synchronize();
    const float top = best[i * k].logit;
    for (const float logit : row) own[i] += std::exp((logit - top) * inverse);
  }
  std::vector<double> all(own.size() * comms_.ranks());
  comms_.world->all_gather(own.data(), all.data(), own.size() * sizeof(double), stream, kSite);
  for (std::size_t i = 0; i < all.size(); ++i) totals[i % own.size()] += all[i];
  return totals;
}

}  // namespace spd
