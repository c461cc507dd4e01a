#include "model/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include "kernels/device/error.h"
#include "model/tokenizer/sentencepiece_tokenizer.h"
#include "model/tokenizer/tokenizer_config.h"
#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/vocab_files.h"

namespace spd {

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& dir) {
  const auto has = [&](const char* name) {
    std::error_code ignored;
    return std::filesystem::is_regular_file(dir / name, ignored);
  };
  if (has("tokenizer.json")) return load_tokenizer_json(dir / "tokenizer.json");
  if (has("tokenizer.model")) {
    return load_sentencepiece(dir / "tokenizer.model", TokenizerConfig::load(dir));
  }
  if (has("vocab.json") && has("merges.txt")) {
    return load_vocab_files(dir, TokenizerConfig::load(dir));
  }
  throw Error(ErrorCode::input,
              fmt::format("{}: none of tokenizer.json, tokenizer.model, vocab.json with "
                          "merges.txt is there",
                          dir.string()),
              "name a Hugging Face model directory that has its tokenizer");
}

}  // namespace spd
