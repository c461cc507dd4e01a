// The check of a checkpoint against its config.json, made before anything is as large as
// config.json says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/weight_source.h"
#include "model/config.h"

namespace spd {

struct CheckedWeights {
  /// What a user should know: tensors that are left out, a projection that is not the embedding.
  std::vector<std::string> notes;
  double bytes = 0.0;  ///< of what all ranks together load
};

/// Throws input Error naming the first tensor of `config` that is missing or has another shape, or
/// tensors that the model would have to use but, as config.json describes it, does not: biases
/// (other than zero), norms or blocks too many. `blocks_in_file`: config.json's, where `config` was
/// cut to fewer. Reads names and shapes alone, but for such biases and a few rows of a projection
/// that is stored although it is tied.
CheckedWeights check_weights(const ModelConfig& config, const Checkpoint& checkpoint,
                             std::int64_t blocks_in_file);

/// The tensors that hold the embedding and the projection to the vocabulary. Where config.json ties
/// the two but both are stored, each is used: they may differ. Where one is stored, it is both.
struct VocabularyTensors {
  std::string embedding;
  std::string projection;
};
VocabularyTensors vocabulary_tensors(const ModelConfig& config, const WeightSource& source);

/// Bytes of all the tensors of `config` were they stored in `config.dtype`; of the embedding alone.
double weight_bytes(const ModelConfig& config);
double embedding_bytes(const ModelConfig& config);

}  // namespace spd
