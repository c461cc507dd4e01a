// From sharded logits to the next token, the same on every rank, whatever the number of ranks.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/rank_comms.h"
#include "kernels/operators.h"
#include "model/partition.h"

namespace spd {

struct SamplingOptions {
  double temperature = 0.0;  ///< 0: greedy
  std::int64_t top_k = 0;    ///< keep the k likeliest; 0: all
  double top_p = 1.0;        ///< keep the likeliest whose probabilities add up to p; 1: all
  std::uint64_t seed = 0;

  /// Throws usage Error naming the flag that is out of range.
  void validate() const;
};

/// One row's request: which random stream it draws from.
struct SampleKey {
  std::uint64_t request = 0;  ///< number of the prompt
  std::uint64_t step = 0;     ///< number of the token within its completion
};

/// Draws by the Gumbel-max trick: argmax of logit / temperature + noise, where a token's noise is a
/// hash of (seed, request, step, id). It needs a few candidates from each rank instead of all
/// logits, and draws the same token whatever the TP degree or the batch.
class Sampler {
 public:
  Sampler(const SamplingOptions& options, Operators& operators, const RankComms& comms,
          VocabRange range, std::int64_t vocab);

  /// `logits`: [rows, local vocabulary], one key a row. Returns [rows] token ids, equal on all
  /// ranks. All ranks call it alike.
  std::vector<std::int32_t> sample(ConstActivations logits, const std::vector<SampleKey>& keys,
                                   Stream& stream);

 private:
  std::vector<Candidate> gather(ConstActivations logits, std::int64_t k, Stream& stream);
  float noise(const SampleKey& key, std::int32_t id) const;
  std::int32_t draw(const std::vector<Candidate>& kept, const SampleKey& key) const;
  std::vector<std::int32_t> sample_unfiltered(ConstActivations logits,
                                              const std::vector<SampleKey>& keys, Stream& stream);
  std::vector<std::int32_t> sample_top_p(ConstActivations logits,
                                         const std::vector<SampleKey>& keys, Stream& stream);
  std::vector<double> sum_weights(ConstActivations logits, const std::vector<Candidate>& best,
                                  std::int64_t k, Stream& stream);

  SamplingOptions options_;
  Operators& operators_;
  RankComms comms_;
  VocabRange range_;
  std::int64_t vocab_;
};

}  // namespace spd
