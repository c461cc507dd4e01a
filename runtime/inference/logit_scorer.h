// Tokens against rows of logits, put together over the ranks' shards of the vocabulary: the one
// place where hidden states become log-probabilities.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/inference/engine.h"

namespace spd {

/// A token whose log-probability a row is asked for; a row may be asked for several.
struct RowTarget {
  std::int64_t row = 0;
  std::int32_t token = 0;
};

/// One row over the whole vocabulary.
struct ScoredRow {
  double log_sum_exp = 0.0;
  std::int32_t best = 0;  ///< the likeliest token, the smallest id among equals
};

struct LogitScores {
  std::vector<ScoredRow> rows;
  std::vector<double> log_probs;  ///< [targets], nats
};

class LogitScorer {
 public:
  /// Holds `max_rows` rows of this rank's logits. The engine must outlive it.
  LogitScorer(Engine& engine, std::int64_t max_rows);

  std::int64_t max_rows() const { return max_rows_; }
  /// `hidden`: final residual streams [n, hidden], n <= max_rows(). All ranks call it alike and get
  /// the same result.
  LogitScores score(ConstActivations hidden, std::span<const RowTarget> targets);
  /// Copies this rank's logits of the last score() to the host: [n, local vocabulary].
  void download(std::vector<float>& to);

 private:
  std::vector<ScoredRow> combine_rows();
  std::vector<float> target_logits(std::span<const RowTarget> targets);

  Engine& engine_;
  Transformer& transformer_;
  Stream& stream_;
  std::int64_t max_rows_;
  Buffer buffer_;       // [max_rows, local vocabulary]
  Activations logits_;  // of the last score()
};

}  // namespace spd
