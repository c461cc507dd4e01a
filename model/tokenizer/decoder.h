// Decoders: how the texts of tokens become text again.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/tokenizer/json_component.h"

namespace spd {

/// One step: from token texts to token texts. The text is what they give end to end.
class Decoder {
 public:
  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

/// ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Strip, Sequence. Throws input Error for any
/// other.
std::unique_ptr<Decoder> make_decoder(const JsonComponent& spec);

/// The decoder of SentencePiece-style vocabularies: marks become spaces, byte tokens bytes.
/// `strip_space`: the text's first space was put there by the tokenizer and goes.
std::unique_ptr<Decoder> make_sentencepiece_decoder(bool strip_space);

}  // namespace spd
