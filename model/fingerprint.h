// A model's identity, for files that were made for one model and must not be used with another.
#pragma once

#include <string>

#include "model/config.h"

namespace spd {

/// 16 hexadecimal digits (FNV-1a, 64 bits) of all in the configuration that decides the tensors'
/// shapes and the mathematics. Where the weights are, their dtype, the ids of BOS and EOS and a
/// context length that only limits do not count, so a copy in another dtype has the same one.
std::string fingerprint(const ModelConfig& config);

/// The text that is hashed: "key=value" lines. For messages that must say what differs.
std::string fingerprint_text(const ModelConfig& config);

}  // namespace spd
