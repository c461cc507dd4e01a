// Regular expressions over UTF-8, in the dialect that tokenizer.json files are written in.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace spd {

/// PCRE2 with Unicode properties, compiled to machine code. The dialect is Oniguruma's, as far as
/// translate_oniguruma() (regex_syntax.h) says it in PCRE2's; the rest is refused. Matching is
/// thread-safe.
class Regex {
 public:
  /// Throws input Error (pattern, place, what is wrong) for what does not compile.
  explicit Regex(const std::string& pattern);
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  /// A pattern that matches `text` literally.
  static std::string escape(std::string_view text);

  /// Calls `found(begin, end)` for each match in `text` (valid UTF-8), in order, not overlapping.
  void for_each_match(std::string_view text,
                      const std::function<void(std::size_t, std::size_t)>& found) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace spd
