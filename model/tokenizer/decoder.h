// Decoders: how the texts of tokens become text again.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/tokenizer/json_component.h"

namespace spd {

/// A token's text on its way through decoders, or a part of it: decoders that join all tokens pass
/// the one token on as it grows.
struct TokenPart {
  std::string text;
  bool ends = true;  ///< the token ends with this part
};

/// One step: from token texts to token texts. The text is what they give end to end.
class Decoder {
 public:
  /// One text that is being decoded, token by token. It holds back what later tokens can change,
  /// and no more: a character's first bytes, a run of byte tokens (which all become U+FFFD where
  /// one of them fits no character).
  class Stream {
   public:
    Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    virtual ~Stream() = default;
    /// Takes the next part and appends what is now certain of the result.
    virtual void push(TokenPart part, std::vector<TokenPart>& out) = 0;
    /// The text ends here: appends what was held back.
    virtual void finish(std::vector<TokenPart>& out) = 0;
    /// Drops what is held back. What comes next still follows the tokens before.
    virtual void drop_held() {}
  };

  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;
  /// The decoder must outlive it.
  virtual std::unique_ptr<Stream> stream() const = 0;
  /// All tokens of a text at once.
  void apply(std::vector<std::string>& tokens) const;
};

/// ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Strip, Sequence. Throws input Error for any
/// other.
std::unique_ptr<Decoder> make_decoder(const JsonComponent& spec);

/// The decoder of SentencePiece-style vocabularies: marks become spaces, byte tokens bytes.
/// `strip_space`: the text's first space was put there by the tokenizer and goes.
std::unique_ptr<Decoder> make_sentencepiece_decoder(bool strip_space);

/// What stands in where a tokenizer.json names no decoder: spaces between tokens.
std::unique_ptr<Decoder> make_joining_decoder();

}  // namespace spd
