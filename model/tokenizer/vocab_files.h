// vocab.json and merges.txt: how GPT-2 and OPT come where there is no tokenizer.json.
#pragma once

#include <filesystem>
#include <memory>

#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/tokenizer_config.h"

namespace spd {

/// GPT-2's byte-level BPE from DIR/vocab.json and DIR/merges.txt. `add_special` puts BOS before a
/// text if the configuration's add_bos_token says so (OPT). Throws input Error naming the file for
/// what is malformed, and for configurations of another tokenizer class.
std::unique_ptr<Tokenizer> load_vocab_files(const std::filesystem::path& dir,
                                            const TokenizerConfig& config);

}  // namespace spd
