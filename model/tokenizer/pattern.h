// The patterns of tokenizer.json: a literal string or a regular expression.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/json_component.h"
#include "model/tokenizer/regex.h"
#include "model/tokenizer/split_text.h"

namespace spd {

class Pattern {
 public:
  /// The field "pattern" of `spec`: {"String": s} or {"Regex": s}. Throws input Error naming the
  /// component for anything else or a regular expression that does not compile.
  explicit Pattern(const JsonComponent& spec);

  /// Throws input Error for a result of more than `most` bytes.
  std::string replaced(std::string_view text, std::string_view content, std::size_t most) const;
  /// The parts of `piece`; with `invert` it is the gaps that are the matches.
  void find_parts(std::string_view piece, bool invert, std::vector<SplitMatch>& parts) const;

 private:
  static Regex compile(const JsonComponent& spec);
  Regex regex_;
};

/// Throws input Error where a text has grown beyond `most` bytes: a tokenizer that multiplies text
/// does so on purpose, and without end.
void refuse_growth(std::size_t bytes, std::size_t most);

/// The parts that the matches of `regex` cut `piece` into.
void find_regex_parts(const Regex& regex, std::string_view piece, bool invert,
                      std::vector<SplitMatch>& parts);

}  // namespace spd
