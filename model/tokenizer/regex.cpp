#include "model/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>

#include "kernels/device/error.h"
#include "model/tokenizer/unicode.h"

namespace spd {
namespace {

// PCRE2's own \s has U+180E and its \w lacks marks and connectors: spell out what is meant. The
// superscripts and fractions of Latin-1 are word characters in Oniguruma where \w stands alone, but
// not within a class; those beyond Latin-1 never are.
constexpr std::string_view kSpace =
    R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kWord =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
constexpr std::string_view kLatin1Word = R"(\xb2\xb3\xb9\xbc-\xbe)";

std::string translate(const std::string& pattern) {
  std::string out;
  int class_depth = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      const bool spelt = escaped == 's' || escaped == 'w' ||
                         (class_depth == 0 && (escaped == 'S' || escaped == 'W'));
      if (!spelt) {
        out += c;
        out += escaped;
        continue;
      }
      const bool is_space = escaped == 's' || escaped == 'S';
      const std::string_view items = is_space ? kSpace : kWord;
      if (class_depth > 0) {
        out += items;
      } else {
        out += fmt::format("[{}{}{}]", escaped == 'S' || escaped == 'W' ? "^" : "", items,
                           is_space ? "" : kLatin1Word);
      }
      continue;
    }
    if (c == '[') ++class_depth;
    if (c == ']' && class_depth > 0) --class_depth;
    if (class_depth > 0 && pattern.compare(i, 2, "&&") == 0) {
      throw Error(ErrorCode::input, fmt::format("regular expression /{}/: intersections (&&) are "
                                                "not supported",
                                                pattern));
    }
    out += c;
  }
  return out;
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Code {
  std::string pattern;
  pcre2_code* compiled = nullptr;

  Code() = default;
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() { pcre2_code_free(compiled); }
};

Regex::Regex(const std::string& pattern) : code_(std::make_unique<Code>()) {
  code_->pattern = pattern;
  const std::string translated = translate(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr);
  if (code_->compiled == nullptr) {
    throw Error(ErrorCode::input, fmt::format("regular expression /{}/: {} (at byte {} of /{}/)",
                                              pattern, message_of(error), offset, translated));
  }
  // A refusal is not an error: matching then interprets the pattern, with the same result.
  pcre2_jit_compile(code_->compiled, PCRE2_JIT_COMPLETE);
}

Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

std::string Regex::escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view(R"(\^$.|?*+()[]{}-#&~)").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

void Regex::for_each_match(std::string_view text,
                           const std::function<void(std::size_t, std::size_t)>& found) const {
  using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;
  const MatchData data(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  if (!data) throw Error(ErrorCode::system, "out of memory for a regular expression's match");
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  bool matched_before = false;
  std::size_t last_end = 0;
  for (std::size_t start = 0; start <= text.size();) {
    // The text is known to be valid; checking it again at every match would cost its square.
    std::uint32_t options = PCRE2_NO_UTF_CHECK;
    int count =
        pcre2_match(code_->compiled, subject, text.size(), start, options, data.get(), nullptr);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
      options |= PCRE2_NO_JIT;
      count =
          pcre2_match(code_->compiled, subject, text.size(), start, options, data.get(), nullptr);
    }
    if (count == PCRE2_ERROR_NOMATCH) return;
    if (count < 0) {
      throw Error(ErrorCode::input,
                  fmt::format("regular expression /{}/ failed on a text of {} bytes: {}",
                              code_->pattern, text.size(), message_of(count)));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    const std::size_t begin = ends[0];
    const std::size_t end = ends[1];
    if (begin < end || !matched_before || end != last_end) {
      found(begin, end);
      matched_before = true;
      last_end = end;
    }
    if (begin < end) {
      start = end;
    } else if (end < text.size()) {
      start = end + code_point_at(text, end).bytes;
    } else {
      return;
    }
  }
}

}  // namespace spd
