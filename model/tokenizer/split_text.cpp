#include "model/tokenizer/split_text.h"

#include <algorithm>
#include <utility>

#include "model/tokenizer/pattern.h"

namespace spd {
namespace {

// Joins neighbouring parts as the behaviour asks; what is left with is_match set is to go.
void join_parts(std::vector<SplitMatch>& parts, SplitBehavior behavior) {
  if (behavior == SplitBehavior::removed) return;
  const bool backwards = behavior == SplitBehavior::merged_with_next;
  if (backwards) std::reverse(parts.begin(), parts.end());
  std::size_t kept = 0;
  bool previous_match = false;
  for (const SplitMatch part : parts) {
    bool join = false;
    if (behavior == SplitBehavior::contiguous) join = part.is_match == previous_match;
    if (behavior == SplitBehavior::merged_with_previous ||
        behavior == SplitBehavior::merged_with_next) {
      join = part.is_match && !previous_match;
    }
    previous_match = part.is_match;
    if (join && kept > 0) {
      SplitMatch& last = parts[kept - 1];
      last.begin = std::min(last.begin, part.begin);
      last.end = std::max(last.end, part.end);
    } else {
      parts[kept++] = {part.begin, part.end, false};
    }
  }
  parts.resize(kept);
  if (backwards) std::reverse(parts.begin(), parts.end());
}

}  // namespace

SplitText::SplitText(std::string text, bool at_start)
    : text_(std::move(text)),
      most_((std::size_t{1} << 20) + 64 * text_.size()),
      at_start_(at_start) {
  if (!text_.empty()) pieces_.push_back({0, text_.size()});
}

void SplitText::split(const FindParts& find_parts, SplitBehavior behavior) {
  std::vector<Piece> pieces;
  pieces.reserve(pieces_.size());
  std::vector<SplitMatch> parts;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    parts.clear();
    find_parts((*this)[i], parts);
    join_parts(parts, behavior);
    const std::size_t offset = pieces_[i].begin;
    for (const SplitMatch& part : parts) {
      if (part.is_match || part.begin == part.end) continue;
      pieces.push_back({offset + part.begin, offset + part.end});
    }
  }
  if (pieces.empty() || pieces.front().begin != pieces_.front().begin) at_start_ = false;
  pieces_ = std::move(pieces);
}

void SplitText::rewrite(const RewritePiece& rewrite_piece) {
  std::string text;
  text.reserve(text_.size() + text_.size() / 4);
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const std::size_t begin = text.size();
    rewrite_piece((*this)[i], at_start_ && i == 0, text);
    pieces_[i] = {begin, text.size()};
    refuse_growth(text.size(), most_);
  }
  text_ = std::move(text);
}

}  // namespace spd
