// Tokens that a tokenizer has and the model has no embedding for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "model/tokenizer/tokenizer.h"

namespace spd {

/// Throws input Error, beginning with `where`, for the first of `ids` that is not below `rows`. As
/// in transformers a model may have fewer rows than its tokenizer has tokens, as long as no text
/// has one of those: told before weights are loaded, not where the row is missed.
void check_embedding_rows(std::span<const TokenId> ids, std::int64_t rows,
                          const Tokenizer& tokenizer, const std::filesystem::path& model,
                          const std::string& where);

/// The rows that DIR/config.json says there are; none where it says nothing of the kind. For those
/// who need no more of a model than its tokenizer.
std::optional<std::int64_t> said_embedding_rows(const std::filesystem::path& model);

}  // namespace spd
