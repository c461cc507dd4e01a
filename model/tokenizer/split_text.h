// A text cut into pieces, as pre-tokenizers pass it on.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace spd {

/// What happens to the delimiters that a text is split at.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// A part of a piece; `is_match`: a delimiter.
struct SplitMatch {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool is_match = false;
};

class SplitText {
 public:
  /// One piece. `at_start`: whether it starts the whole text that is being encoded.
  SplitText(std::string text, bool at_start);

  std::size_t size() const { return pieces_.size(); }
  std::string_view operator[](std::size_t i) const {
    return std::string_view(text_).substr(pieces_[i].begin, pieces_[i].end - pieces_[i].begin);
  }

  /// Lists the parts of a piece, in order and covering it whole.
  using FindParts = std::function<void(std::string_view piece, std::vector<SplitMatch>& parts)>;
  /// Cuts every piece into parts. Empty ones are left out.
  void split(const FindParts& find_parts, SplitBehavior behavior);

  /// Appends what is to stand for `piece`; `at_start`: it starts the whole text.
  using RewritePiece = std::function<void(std::string_view piece, bool at_start, std::string& out)>;
  /// Throws input Error where the text grows beyond 64 times what it was, and a MiB.
  void rewrite(const RewritePiece& rewrite_piece);

 private:
  struct Piece {
    std::size_t begin, end;
  };
  std::string text_;
  std::size_t most_;  // bytes that the text may grow to
  std::vector<Piece> pieces_;
  bool at_start_;
};

}  // namespace spd
