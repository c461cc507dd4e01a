#include "model/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "kernels/device/utf8.h"
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
  by_id_.reserve(tokens_.size());
  by_content_.reserve(tokens_.size());
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    by_id_[tokens_[i].id] = i;
    by_content_[tokens_[i].content] = i;
  }
  std::vector<std::string> plain, normalized;
  // Of tokens that look alike once normalised the special ones come first.
  for (const bool special : {true, false}) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const AddedToken& token = tokens_[i];
      if (token.special != special) continue;
      std::string needle = token.content;
      if (token.normalized && normalizer != nullptr) normalizer->apply(needle);
      (token.normalized ? normalized : plain).push_back(std::move(needle));
      (token.normalized ? normalized_ : plain_).tokens.push_back(i);
    }
  }
  plain_.search = AddedTokenSearch(plain);
  normalized_.search = AddedTokenSearch(normalized);
}

std::vector<TextSpan> AddedTokens::find(std::string_view text, bool normalized) const {
  const Needles& needles = normalized ? normalized_ : plain_;
  std::vector<TextSpan> spans;
  std::size_t done = 0;
  AddedTokenSearch::Match match;
  for (std::size_t at = 0; needles.search.find(text, at, match); at = match.end) {
    const AddedToken& token = tokens_[needles.tokens[match.needle]];
    std::size_t begin = match.begin;
    std::size_t end = match.end;
    if (token.single_word && (word_before(text, begin) || word_at(text, end))) continue;
    // What the token before took with its rstrip is not there to be taken again.
    if (token.lstrip) begin = std::max(spaces_begin(text, begin, std::min(done, begin)), done);
    if (token.rstrip) end = spaces_end(text, end);
    if (begin >= end) continue;
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
  const auto found = by_content_.find(content);
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

bool AddedTokens::is_special(TokenId id) const {
  const AddedToken* found = token(id);
  return found != nullptr && found->special;
}

}  // namespace spd
