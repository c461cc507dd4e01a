#include "model/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "model/tokenizer/unicode.h"

namespace spd {
namespace {

bool word_before(std::string_view text, std::size_t at) {
  return at > 0 && is_word(code_point_at(text, code_point_before(text, at)).value);
}

bool word_at(std::string_view text, std::size_t at) {
  return at < text.size() && is_word(code_point_at(text, at).value);
}

std::size_t spaces_begin(std::string_view text, std::size_t at, std::size_t least) {
  while (at > least) {
    const std::size_t before = code_point_before(text, at);
    if (!is_space(code_point_at(text, before).value)) break;
    at = before;
  }
  return at;
}

std::size_t spaces_end(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const CodePoint c = code_point_at(text, at);
    if (!is_space(c.value)) break;
    at += c.bytes;
  }
  return at;
}

}  // namespace

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer)
    : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    by_id_[token.id] = i;
    by_content_[token.content] = i;
    std::string needle = token.content;
    if (token.normalized && normalizer != nullptr) normalizer->apply(needle);
    if (needle.empty()) continue;
    Needles& needles = token.normalized ? normalized_ : plain_;
    needles[static_cast<unsigned char>(needle.front())].push_back({needle, i});
  }
  for (Needles* needles : {&plain_, &normalized_}) {
    for (std::vector<Needle>& bucket : *needles) {
      std::stable_sort(bucket.begin(), bucket.end(), [](const Needle& a, const Needle& b) {
        return a.text.size() > b.text.size();
      });
    }
  }
}

const AddedTokens::Needle* AddedTokens::needle_at(const Needles& needles, std::string_view text,
                                                  std::size_t at) const {
  for (const Needle& needle : needles[static_cast<unsigned char>(text[at])]) {
    if (text.compare(at, needle.text.size(), needle.text) == 0) return &needle;
  }
  return nullptr;
}

std::vector<TextSpan> AddedTokens::find(std::string_view text, bool normalized) const {
  const Needles& needles = normalized ? normalized_ : plain_;
  std::vector<TextSpan> spans;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Needle* needle = needle_at(needles, text, at);
    if (needle == nullptr) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[needle->token];
    std::size_t begin = at;
    std::size_t end = at + needle->text.size();
    at = end;
    if (token.single_word && (word_before(text, begin) || word_at(text, end))) continue;
    // What the token before took with its rstrip may reach beyond this one's begin.
    if (token.lstrip) begin = spaces_begin(text, begin, std::min(done, begin));
    if (token.rstrip) end = spaces_end(text, end);
    if (done < begin) spans.push_back({done, begin, -1});
    spans.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) spans.push_back({done, text.size(), -1});
  return spans;
}

const AddedToken* AddedTokens::token(TokenId id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::token(std::string_view content) const {
  const auto found = by_content_.find(std::string(content));
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

bool AddedTokens::is_special(TokenId id) const {
  const AddedToken* found = token(id);
  return found != nullptr && found->special;
}

}  // namespace spd
