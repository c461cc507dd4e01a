// The model families: what each one's config.json means, in one row and one function a family.
#pragma once

#include <span>
#include <string_view>

#include "model/config.h"
#include "model/json_object.h"

namespace spd {

struct FamilyReader {
  std::string_view architecture;  ///< as in config.json's "architectures"
  Family family;
  /// Fills in sizes, norms, activation, biases, positions, windows and the ids of BOS and EOS.
  /// Defaults are those of the family's configuration class in transformers 5.
  void (*read)(const JsonObject& json, ModelConfig& config);
};

std::span<const FamilyReader> family_readers();

/// Adds "eos_token_id", an id or a list of ids, to those of `config`, each once.
void add_eos_ids(const JsonObject& json, ModelConfig& config);

/// Rotary positions from "rope_parameters", or from the older "rope_theta" and "rope_scaling".
/// Reads config.max_positions. Throws input Error for a scaling that is not supported.
RopeConfig read_rope(const JsonObject& json, const ModelConfig& config);

}  // namespace spd
