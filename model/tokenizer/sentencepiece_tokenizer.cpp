#include "model/tokenizer/sentencepiece_tokenizer.h"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "kernels/device/error.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/decoder.h"
#include "model/tokenizer/unicode.h"

namespace spd {
namespace {

using Processor = sentencepiece::SentencePieceProcessor;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<Processor> processor, const TokenizerConfig& config)
      : processor_(std::move(processor)),
        added_(added_tokens(*processor_, config), nullptr),
        add_bos_(config.add_bos_token.value_or(true)),
        add_eos_(config.add_eos_token.value_or(false)),
        decoder_(make_sentencepiece_decoder(puts_space_first(*processor_))) {
    for (int id = 0; id < processor_->GetPieceSize(); ++id) {
      pieces_.push_back(replace_invalid_utf8(processor_->IdToPiece(id)));
    }
  }

  std::vector<TokenId> encode(std::string_view text, bool add_special) const override {
    const std::string valid = replace_invalid_utf8(text);
    std::vector<TokenId> ids;
    if (add_special && add_bos_ && processor_->bos_id() >= 0) ids.push_back(processor_->bos_id());
    for (const TextSpan& span : added_.find(valid, false)) {
      if (span.id >= 0) {
        ids.push_back(span.id);
        continue;
      }
      const auto stretch = std::string_view(valid).substr(span.begin, span.end - span.begin);
      std::vector<int> pieces;
      const auto status = processor_->Encode({stretch.data(), stretch.size()}, &pieces);
      if (!status.ok()) {
        throw Error(ErrorCode::internal, "SentencePiece could not encode: " + status.ToString());
      }
      ids.insert(ids.end(), pieces.begin(), pieces.end());
    }
    if (add_special && add_eos_ && processor_->eos_id() >= 0) ids.push_back(processor_->eos_id());
    return ids;
  }

  std::optional<std::string_view> token_text(TokenId id) const override {
    if (const AddedToken* added = added_.token(id)) return added->content;
    const auto index = static_cast<std::size_t>(id);
    if (id < 0 || index >= pieces_.size()) return std::nullopt;
    return pieces_[index];
  }
  const Decoder& decoder() const override { return *decoder_; }

  std::int64_t vocab_size() const override {
    std::int64_t size = processor_->GetPieceSize();
    for (const AddedToken& token : added_.tokens()) {
      size = std::max<std::int64_t>(size, token.id + 1);
    }
    return size;
  }

  std::optional<TokenId> id_of(std::string_view token) const override {
    if (const AddedToken* added = added_.token(token)) return added->id;
    const int id = processor_->PieceToId({token.data(), token.size()});
    if (processor_->IdToPiece(id) != token) return std::nullopt;  // the unknown token's
    return id;
  }

  bool is_special(TokenId id) const override { return added_.is_special(id); }

 private:
  static std::vector<AddedToken> added_tokens(const Processor& processor,
                                              const TokenizerConfig& config) {
    std::vector<AddedToken> tokens;
    for (int id = 0; id < processor.GetPieceSize(); ++id) {
      if (!processor.IsControl(id) && !processor.IsUnknown(id)) continue;
      AddedToken token;
      token.content = processor.IdToPiece(id);
      token.id = id;
      token.special = true;
      tokens.push_back(std::move(token));
    }
    for (AddedToken token : config.added_tokens) {
      token.normalized = false;  // the library normalises on its own; look for it in the text
      tokens.push_back(std::move(token));
    }
    return tokens;
  }

  // The model says whether a space is put before a text, but its API does not.
  static bool puts_space_first(const Processor& processor) {
    const std::vector<std::string> pieces = processor.EncodeAsPieces("a");
    return !pieces.empty() && pieces.front().starts_with("\xE2\x96\x81");
  }

  std::unique_ptr<Processor> processor_;
  std::vector<std::string> pieces_;  // [id]
  AddedTokens added_;
  bool add_bos_, add_eos_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& file,
                                              const TokenizerConfig& config) {
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(stream), {});
  auto processor = std::make_unique<Processor>();
  const auto status = processor->LoadFromSerializedProto(bytes);
  if (bytes.empty() || !status.ok()) {
    throw Error(ErrorCode::input,
                fmt::format("{}: not a SentencePiece model: {}", file.string(), status.ToString()),
                "fetch the file again");
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(processor), config);
}

}  // namespace spd
