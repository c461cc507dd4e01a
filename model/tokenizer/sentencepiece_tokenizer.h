// tokenizer.model: SentencePiece, through its library.
#pragma once

#include <filesystem>
#include <memory>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/tokenizer_config.h"

namespace spd {

/// `add_special` puts BOS before a text unless the configuration's add_bos_token says no, and EOS
/// after it if add_eos_token says so. Control tokens and added tokens are recognised in a text; the
/// stretches between them are encoded each on its own, as the LLaMA 2 tokenizer.json does. Throws
/// input Error naming the file for one that SentencePiece does not read.
std::unique_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& file,
                                              const TokenizerConfig& config);

}  // namespace spd
