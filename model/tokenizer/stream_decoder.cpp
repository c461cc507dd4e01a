#include "model/tokenizer/tokenizer.h"

namespace spd {
namespace {
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
// A character that never becomes whole is given out as it stands after so many ids.
constexpr std::size_t kMaxHeldIds = 64;

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }
}  // namespace

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, std::span<const TokenId> context)
    : tokenizer_(tokenizer) {
  for (const TokenId id : context) push(id);
}

std::string StreamDecoder::push(TokenId id) {
  if (tokenizer_.is_special(id)) return "";
  ids_.push_back(id);
  const std::string text = tokenizer_.decode(ids_, true);
  std::size_t whole = text.size();
  if (ids_.size() < kMaxHeldIds) {
    while (std::string_view(text).substr(0, whole).ends_with(kReplacement)) {
      whole -= kReplacement.size();
    }
  }
  return give(text, whole);
}

std::string StreamDecoder::finish() {
  const std::string text = tokenizer_.decode(ids_, true);
  std::string rest = give(text, text.size());
  ids_.clear();
  given_ = 0;
  return rest;
}

// Gives text[given_, end), and forgets the ids that no later text depends on.
std::string StreamDecoder::give(const std::string& text, std::size_t end) {
  if (end <= given_) return "";
  // A run of bytes that turns out to be no character changes the text before it, too: what was
  // given out then need not end where a character does.
  std::size_t begin = given_;
  while (begin < end && is_continuation(text[begin])) ++begin;
  std::string fresh = text.substr(begin, end - begin);
  given_ = end;
  if (end < text.size() || ids_.empty()) return fresh;
  // One id stays, because what decoders do to the first token is not for the next one.
  const std::string last = tokenizer_.decode(std::span(ids_).last(1), true);
  if (last.find(kReplacement) == std::string::npos || ids_.size() >= kMaxHeldIds) {
    ids_.erase(ids_.begin(), ids_.end() - 1);
    given_ = last.size();
  }
  return fresh;
}

}  // namespace spd
