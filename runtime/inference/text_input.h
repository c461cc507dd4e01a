// Texts for evaluation and calibration.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "runtime/job/launch.h"

namespace spd {

/// Tokenises a whole UTF-8 file ("-": stdin) with the tokenizer of `model`, nothing added, on rank
/// 0; the same result on every rank. A byte order mark at its beginning is left out; bytes that are
/// not UTF-8 become U+FFFD, as in Python's errors="replace". Throws AgreedError where the file
/// cannot be read, is larger than 4 GiB (a device or pipe: 256 MiB), has a zero byte (UTF-16 has),
/// fewer than two tokens, or one that the model has no embedding for.
std::vector<std::int32_t> read_token_ids(const RankContext& context,
                                         const std::filesystem::path& model,
                                         const std::filesystem::path& text);

}  // namespace spd
