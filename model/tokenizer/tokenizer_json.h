// tokenizer.json of Hugging Face's tokenizers library.
#pragma once

#include <filesystem>
#include <memory>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/tokenizer_config.h"

namespace spd {

/// Tokens that only `config` names are added to the file's own. Throws input Error naming the file
/// and the component that is malformed or not supported (models other than BPE, for one).
/// Truncation and padding are not looked at.
std::unique_ptr<Tokenizer> load_tokenizer_json(const std::filesystem::path& file,
                                               const TokenizerConfig& config);

}  // namespace spd
