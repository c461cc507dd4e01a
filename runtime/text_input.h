// Texts for evaluation and calibration.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "runtime/launch.h"

namespace spd {

/// Tokenises a whole UTF-8 file with the tokenizer of `model`, nothing added, on rank 0; the same
/// result on every rank. Throws AgreedError where the file cannot be read or has fewer than two
/// tokens.
std::vector<std::int32_t> read_token_ids(const RankContext& context,
                                         const std::filesystem::path& model,
                                         const std::filesystem::path& text);

}  // namespace spd
