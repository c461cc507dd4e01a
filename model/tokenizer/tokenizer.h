// Text to token ids and back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spd {

using TokenId = std::int32_t;

class Tokenizer {
 public:
  Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  virtual ~Tokenizer() = default;

  /// Ids of `text` (UTF-8). Special tokens written in the text are recognised, as Hugging Face's
  /// tokenizers do. `add_special`: also what the tokenizer adds around a text (e.g. a leading BOS).
  /// Invalid UTF-8 is not an error: each bad byte reads as U+FFFD.
  virtual std::vector<TokenId> encode(std::string_view text, bool add_special) const = 0;
  /// Text of ids; ids out of range throw input Error. `skip_special` leaves special tokens out.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special) const = 0;
  /// Number of ids, added tokens included.
  virtual std::int64_t vocab_size() const = 0;
  virtual std::optional<TokenId> id_of(std::string_view token) const = 0;
  virtual bool is_special(TokenId id) const = 0;

  /// DIR/tokenizer.json where there is one, else DIR/tokenizer.model (SentencePiece). Throws input
  /// Error naming the file for what is missing, malformed or not supported.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& dir);
};

/// Decodes a stream of ids piece by piece, holding back bytes that do not yet form whole
/// characters.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  /// Text that `id` completes (may be empty). Special tokens give nothing.
  std::string push(TokenId id);
  /// What was held back, at the end.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  std::vector<TokenId> ids_;
  std::size_t prefix_ = 0;  // ids whose text has been given out, kept as context
  std::size_t read_ = 0;
};

}  // namespace spd
