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
  /// Invalid UTF-8 is not an error: ill-formed parts read as U+FFFD, as with Python's
  /// errors="replace".
  virtual std::vector<TokenId> encode(std::string_view text, bool add_special) const = 0;
  /// Text of ids. `skip_special` leaves special tokens out. Ids that no token has give nothing (a
  /// model's vocabulary may be padded beyond the tokenizer's); negative ones throw input Error.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special) const = 0;
  /// Highest id + 1, added tokens included.
  virtual std::int64_t vocab_size() const = 0;
  virtual std::optional<TokenId> id_of(std::string_view token) const = 0;
  virtual bool is_special(TokenId id) const = 0;

  /// DIR/tokenizer.json where there is one, else DIR/tokenizer.model (SentencePiece), else
  /// DIR/vocab.json with DIR/merges.txt (GPT-2's kind). Throws input Error naming the file for what
  /// is missing, malformed or not supported.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& dir);
};

/// Decodes a stream of ids piece by piece, holding back bytes that do not yet form whole
/// characters. The pieces end to end are the text of all ids.
class StreamDecoder {
 public:
  /// `context`: ids that come before the stream, e.g. the prompt's last few. Their text is not
  /// given out; without them some tokenizers leave out a space that starts the stream. The
  /// tokenizer must outlive this.
  explicit StreamDecoder(const Tokenizer& tokenizer, std::span<const TokenId> context = {});
  /// Text that `id` completes (may be empty). Special tokens give nothing.
  std::string push(TokenId id);
  /// What was held back, at the end.
  std::string finish();

 private:
  std::string give(const std::string& text, std::size_t end);

  const Tokenizer& tokenizer_;
  std::vector<TokenId> ids_;  // the last ids, as far as the next one's text depends on them
  std::size_t given_ = 0;     // bytes of their text that were given out
};

}  // namespace spd
