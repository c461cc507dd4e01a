// The tokenizer of a model: text to token ids and back.
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

class Decoder;

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
  std::string decode(std::span<const TokenId> ids, bool skip_special) const;
  /// Highest id + 1, added tokens included.
  virtual std::int64_t vocab_size() const = 0;
  virtual std::optional<TokenId> id_of(std::string_view token) const = 0;
  virtual bool is_special(TokenId id) const = 0;
  /// What the vocabulary holds for `id`, as the file spells it (e.g. with byte-level letters); none
  /// for an id that no token has.
  virtual std::optional<std::string_view> token_text(TokenId id) const = 0;
  /// What makes text of token texts.
  virtual const Decoder& decoder() const = 0;

  /// Ids of added tokens are those of the files, also where a file leaves some out
  /// (AddedTokenList); tokens that only tokenizer_config.json, added_tokens.json or
  /// special_tokens_map.json name are added as transformers does. After an added token LLaMA's
  /// tokenizers put no space mark unless "legacy" is true (TokenizerConfig::marks_only_first).
  ///
  /// Reads DIR/tokenizer.json where there is one, else DIR/tokenizer.model (SentencePiece), else
  /// DIR/vocab.json with DIR/merges.txt (GPT-2's kind). Throws input Error naming the file for what
  /// is missing, malformed or not supported.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& dir);

 private:
  friend class StreamDecoder;
  // The token's text; throws input Error for a negative id.
  std::optional<std::string_view> checked_text(TokenId id) const;
};

/// Decodes a stream of ids piece by piece, in time linear in their number. The pieces end to end
/// are what decode(ids, true) gives, and each is whole characters. Held back is only what later ids
/// can change: the first bytes of a character and, in SentencePiece-style vocabularies, a run of
/// byte tokens, all of which are U+FFFD if one of them fits no character.
class StreamDecoder {
 public:
  /// `context`: ids that come before the stream, e.g. the prompt's last few. Their text is not
  /// given out, not even what they leave unfinished; without them some tokenizers leave out a space
  /// that starts the stream. The tokenizer must outlive this.
  explicit StreamDecoder(const Tokenizer& tokenizer, std::span<const TokenId> context = {});
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder(const StreamDecoder&) = delete;
  StreamDecoder& operator=(const StreamDecoder&) = delete;
  ~StreamDecoder();
  /// Text that `id` completes (may be empty). Special tokens give nothing; negative ids throw input
  /// Error.
  std::string push(TokenId id);
  /// What was held back, at the end. The next id begins another text.
  std::string finish();

 private:
  struct State;
  const Tokenizer& tokenizer_;
  std::unique_ptr<State> state_;
};

}  // namespace spd
