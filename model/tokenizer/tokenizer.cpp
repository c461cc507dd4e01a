#include "model/tokenizer/tokenizer.h"

#include <fmt/format.h>

#include "kernels/device/error.h"
#include "model/tokenizer/decoder.h"
#include "model/tokenizer/sentencepiece_tokenizer.h"
#include "model/tokenizer/tokenizer_config.h"
#include "model/tokenizer/tokenizer_json.h"
#include "model/tokenizer/vocab_files.h"

namespace spd {

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& dir) {
  const auto has = [&](const char* name) {
    std::error_code ignored;
    // What is there but no file is for the reader to refuse.
    return std::filesystem::exists(dir / name, ignored);
  };
  if (has("tokenizer.json")) {
    return load_tokenizer_json(dir / "tokenizer.json", TokenizerConfig::load(dir));
  }
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

std::optional<std::string_view> Tokenizer::checked_text(TokenId id) const {
  if (id < 0) {
    throw Error(ErrorCode::input, fmt::format("{} is not the id of a token", id),
                "ids count from 0");
  }
  return token_text(id);
}

std::string Tokenizer::decode(std::span<const TokenId> ids, bool skip_special) const {
  const std::unique_ptr<Decoder::Stream> stream = decoder().stream();
  std::vector<TokenPart> parts;
  std::string text;
  text.reserve(4 * ids.size());  // a token has about as many bytes
  const auto take = [&] {
    for (const TokenPart& part : parts) text += part.text;
    parts.clear();
  };
  for (const TokenId id : ids) {
    const std::optional<std::string_view> token = checked_text(id);
    if (!token || (skip_special && is_special(id))) continue;
    stream->push({std::string(*token), true}, parts);
    take();
  }
  stream->finish(parts);
  take();
  return text;
}

}  // namespace spd
