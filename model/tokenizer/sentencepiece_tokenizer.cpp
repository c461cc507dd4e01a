#include "model/tokenizer/sentencepiece_tokenizer.h"

#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <algorithm>
#include <utility>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "kernels/device/utf8.h"
#include "model/input_file.h"
#include "model/tokenizer/added_token_list.h"
#include "model/tokenizer/added_tokens.h"
#include "model/tokenizer/decoder.h"
#include "model/tokenizer/file_kind.h"
#include "model/tokenizer/vocabulary.h"

namespace spd {
namespace {

using Processor = sentencepiece::SentencePieceProcessor;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  /// `later`: encodes what follows an added token; null: as what comes first.
  SentencePieceTokenizer(std::unique_ptr<Processor> processor, std::unique_ptr<Processor> later,
                         const TokenizerConfig& config)
      : processor_(std::move(processor)),
        later_(std::move(later)),
        vocabulary_(pieces_of(*processor_)),
        added_(added_tokens(*processor_, vocabulary_, config), nullptr),
        add_bos_(config.add_bos_token.value_or(true)),
        add_eos_(config.add_eos_token.value_or(false)),
        decoder_(make_sentencepiece_decoder(puts_space_first(*processor_))) {}

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
      const Processor& processor = later_ && span.begin > 0 ? *later_ : *processor_;
      const auto status = processor.Encode({stretch.data(), stretch.size()}, &pieces);
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
    return vocabulary_.text(id);
  }
  const Decoder& decoder() const override { return *decoder_; }

  std::int64_t vocab_size() const override {
    std::int64_t size = vocabulary_.size();
    for (const AddedToken& token : added_.tokens()) {
      size = std::max<std::int64_t>(size, token.id + 1);
    }
    return size;
  }

  std::optional<TokenId> id_of(std::string_view token) const override {
    if (const AddedToken* added = added_.token(token)) return added->id;
    return vocabulary_.find(token);
  }

  bool is_special(TokenId id) const override { return added_.is_special(id); }

  // The model says whether a space is put before a text, but its API does not.
  static bool puts_space_first(const Processor& processor) {
    const std::vector<std::string> pieces = processor.EncodeAsPieces("a");
    return !pieces.empty() && pieces.front().starts_with("\xE2\x96\x81");
  }

 private:
  static Vocabulary pieces_of(const Processor& processor) {
    Vocabulary vocabulary;
    for (int id = 0; id < processor.GetPieceSize(); ++id) {
      vocabulary.add(replace_invalid_utf8(processor.IdToPiece(id)), id);
    }
    return vocabulary;
  }

  static std::vector<AddedToken> added_tokens(const Processor& processor,
                                              const Vocabulary& vocabulary,
                                              const TokenizerConfig& config) {
    AddedTokenList list(vocabulary);
    for (int id = 0; id < processor.GetPieceSize(); ++id) {
      if (!processor.IsControl(id) && !processor.IsUnknown(id)) continue;
      AddedToken token;
      token.content = processor.IdToPiece(id);
      token.special = true;
      list.add(std::move(token), id);
    }
    config.add_to(list);
    std::vector<AddedToken> tokens = list.take();
    // The library normalises on its own: look for all of them in the text.
    for (AddedToken& token : tokens) token.normalized = false;
    return tokens;
  }

  std::unique_ptr<Processor> processor_, later_;
  Vocabulary vocabulary_;
  AddedTokens added_;
  bool add_bos_, add_eos_;
  std::unique_ptr<Decoder> decoder_;
};

// A line of base64 and a number: what LLaMA 3 and others ship under the same name.
bool is_tiktoken(std::string_view content) {
  const std::string_view line = content.substr(0, std::min(content.find('\n'), content.size()));
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0) return false;
  constexpr std::string_view kDigits = "0123456789";
  constexpr std::string_view kBase64 =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
  std::string_view number = line.substr(space + 1);
  if (number.ends_with('\r')) number.remove_suffix(1);
  return !number.empty() && number.find_first_not_of(kDigits) == std::string_view::npos &&
         line.substr(0, space).find_first_not_of(kBase64) == std::string_view::npos;
}

std::unique_ptr<Processor> load(const std::filesystem::path& file, const std::string& bytes) {
  auto processor = std::make_unique<Processor>();
  const auto status = processor->LoadFromSerializedProto(bytes);
  if (!status.ok()) {
    throw Error(ErrorCode::input,
                fmt::format("{}: not a SentencePiece model: {}", file.string(),
                            printable(status.ToString())),
                "fetch the file again");
  }
  return processor;
}

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece(const std::filesystem::path& file,
                                              const TokenizerConfig& config) {
  const std::string bytes = read_file(file);
  std::string kind = name_other_kind(bytes);
  if (is_tiktoken(bytes)) kind = "a tiktoken vocabulary, not a SentencePiece model";
  if (bytes.starts_with('{')) kind = "JSON, not a SentencePiece model";
  if (!kind.empty()) {
    throw Error(ErrorCode::input, fmt::format("{}: is {}", file.string(), kind),
                "add the tokenizer.json of the model in Hugging Face's form, which is then read in "
                "its place");
  }
  try {
    std::unique_ptr<Processor> processor = load(file, bytes);
    std::unique_ptr<Processor> later;
    if (config.marks_only_first() && SentencePieceTokenizer::puts_space_first(*processor)) {
      // A second normalizer_spec is merged into the first: its field add_dummy_prefix, false.
      later = load(file, bytes + std::string("\x1A\x02\x18\x00", 4));
    }
    return std::make_unique<SentencePieceTokenizer>(std::move(processor), std::move(later), config);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    // The library's own, for models that no trainer has written.
    throw Error(ErrorCode::input,
                fmt::format("{}: not a usable SentencePiece model: {}", file.string(),
                            printable(error.what())),
                "fetch the file again");
  }
}

}  // namespace spd
