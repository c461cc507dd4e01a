// The tokenizer that a tokenizer.json describes: added tokens, normaliser, pre-tokenizer, BPE,
// post-processor; and a decoder for the way back.
#pragma once

#include <memory>

#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/decoder.h"
#include "model/tokenizer/normalizer.h"
#include "model/tokenizer/post_processor.h"
#include "model/tokenizer/pre_tokenizer.h"
#include "model/tokenizer/tokenizer.h"

namespace spd {

class PipelineTokenizer final : public Tokenizer {
 public:
  struct Parts {
    std::unique_ptr<Normalizer> normalizer;       ///< null: none
    std::unique_ptr<PreTokenizer> pre_tokenizer;  ///< null: none
    std::unique_ptr<Bpe> bpe;
    std::vector<AddedToken> added_tokens;
    PostProcessor post_processor;
    std::unique_ptr<Decoder> decoder;  ///< null: tokens are joined with spaces
  };
  explicit PipelineTokenizer(Parts parts);

  std::vector<TokenId> encode(std::string_view text, bool add_special) const override;
  std::int64_t vocab_size() const override;
  std::optional<TokenId> id_of(std::string_view token) const override;
  bool is_special(TokenId id) const override { return added_.is_special(id); }
  std::optional<std::string_view> token_text(TokenId id) const override;
  const Decoder& decoder() const override { return *parts_.decoder; }

 private:
  void encode_text(std::string_view text, bool at_start, Bpe::Workspace& workspace,
                   std::vector<TokenId>& ids) const;

  Parts parts_;
  AddedTokens added_;
};

}  // namespace spd
