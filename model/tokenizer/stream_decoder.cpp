#include "model/tokenizer/decoder.h"
#include "model/tokenizer/tokenizer.h"

namespace spd {
namespace {

std::string take(std::vector<TokenPart>& parts) {
  std::string text;
  for (const TokenPart& part : parts) text += part.text;
  parts.clear();
  return text;
}

}  // namespace

struct StreamDecoder::State {
  std::unique_ptr<Decoder::Stream> stream;
  std::vector<TokenPart> parts;  // room to work in
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, std::span<const TokenId> context)
    : tokenizer_(tokenizer), state_(std::make_unique<State>()) {
  state_->stream = tokenizer_.decoder().stream();
  for (const TokenId id : context) push(id);
  state_->stream->drop_held();
}

StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder::~StreamDecoder() = default;

std::string StreamDecoder::push(TokenId id) {
  if (tokenizer_.is_special(id)) return "";
  const std::optional<std::string_view> text = tokenizer_.checked_text(id);
  if (!text) return "";
  state_->stream->push({std::string(*text), true}, state_->parts);
  return take(state_->parts);
}

std::string StreamDecoder::finish() {
  state_->stream->finish(state_->parts);
  state_->stream = tokenizer_.decoder().stream();
  return take(state_->parts);
}

}  // namespace spd
