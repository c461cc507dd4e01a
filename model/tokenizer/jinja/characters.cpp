#include "model/tokenizer/jinja/characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/case_tables.h"
#include "model/tokenizer/unicode.h"

namespace spd::jinja {
namespace {

template <std::size_t N>
bool within(const Span (&spans)[N], char32_t c) {
  const Span* after =
      std::upper_bound(std::begin(spans), std::end(spans), c,
                       [](char32_t at, const Span& span) { return at < span.first; });
  return after != std::begin(spans) && c <= std::prev(after)->last;
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

const SpecialCase* special_case(char32_t c) {
  if (c < 0x80) return nullptr;
  const SpecialCase* found =
      std::lower_bound(std::begin(kSpecialCases), std::end(kSpecialCases), c,
                       [](const SpecialCase& entry, char32_t at) { return entry.from < at; });
  return found != std::end(kSpecialCases) && found->from == c ? found : nullptr;
}

void append(std::string& text, std::u32string_view characters) {
  for (const char32_t c : characters) append_utf8(text, c);
}

void append_upper(std::string& text, char32_t c) {
  if (const SpecialCase* special = special_case(c)) return append(text, special->upper);
  append_utf8(text, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

void append_title(std::string& text, char32_t c) {
  if (const SpecialCase* special = special_case(c)) return append(text, special->title);
  append_utf8(text, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
}

bool is_cased(char32_t c) { return is_lower(c) || is_upper(c) || is_titlecase(c); }

/// Unicode's Case_Ignorable.
bool is_case_ignorable(char32_t c) {
  constexpr std::u32string_view kMiddles =
      U"'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a";
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return kMiddles.find(c) != kMiddles.npos;
  }
}

/// Whether the capital sigma at `at` of `text` ends a word: it has a small form of its own there.
bool is_final_sigma(std::string_view text, std::size_t at, std::size_t bytes) {
  std::size_t before = at;
  bool after_cased = false;
  while (before > 0) {
    before = code_point_before(text, before);
    const char32_t c = code_point_at(text, before).value;
    if (is_case_ignorable(c)) continue;
    after_cased = is_cased(c);
    break;
  }
  if (!after_cased) return false;
  for (std::size_t next = at + bytes; next < text.size();) {
    const CodePoint c = code_point_at(text, next);
    if (!is_case_ignorable(c.value)) return !is_cased(c.value);
    next += c.bytes;
  }
  return true;
}

void append_lower(std::string& lowered, std::string_view text, std::size_t at, CodePoint c) {
  if (c.value == 0x130) return append(lowered, U"i\u0307");
  if (c.value == 0x3a3)
    return append_utf8(lowered, is_final_sigma(text, at, c.bytes) ? 0x3c2 : 0x3c3);
  append_utf8(lowered,
              static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value))));
}

/// Calls `visit(code point, offset)` for every character.
template <class Visit>
void each(std::string_view text, Visit visit) {
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    visit(c, at);
    at += c.bytes;
  }
}

}  // namespace

std::size_t code_points(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::size_t offset_of(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += code_point_at(text, at).bytes;
  return at;
}

bool is_space_in_python(char32_t c) { return (c >= 0x1c && c <= 0x1f) || is_space(c); }

bool is_alpha(char32_t c) {
  const auto of = category(c);
  return of >= UTF8PROC_CATEGORY_LU && of <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) { return is_decimal(c) || within(kOtherDigits, c); }
bool is_numeric_in_python(char32_t c) { return is_numeric(c) || within(kOtherNumeric, c); }
bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }
bool is_lower(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL || within(kOtherLowercase, c);
}
bool is_upper(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU || within(kOtherUppercase, c);
}
bool is_titlecase(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }

bool is_printable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    case UTF8PROC_CATEGORY_ZS:
      return c == ' ';
    default:
      return true;
  }
}

bool is_line_end(char32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

std::string upper(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  each(text, [&](CodePoint c, std::size_t) { append_upper(result, c.value); });
  return result;
}

std::string lower(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  each(text, [&](CodePoint c, std::size_t at) { append_lower(result, text, at, c); });
  return result;
}

std::string capitalize(std::string_view text) {
  std::string result;
  each(text, [&](CodePoint c, std::size_t at) {
    if (at == 0) return append_title(result, c.value);
    append_lower(result, text, at, c);
  });
  return result;
}

std::string title(std::string_view text) {
  std::string result;
  bool after_cased = false;
  each(text, [&](CodePoint c, std::size_t at) {
    if (after_cased) {
      append_lower(result, text, at, c);
    } else {
      append_title(result, c.value);
    }
    after_cased = is_cased(c.value);
  });
  return result;
}

std::string swapcase(std::string_view text) {
  std::string result;
  each(text, [&](CodePoint c, std::size_t at) {
    if (is_upper(c.value)) {
      append_lower(result, text, at, c);
    } else if (is_lower(c.value)) {
      append_upper(result, c.value);
    } else {
      append_utf8(result, c.value);
    }
  });
  return result;
}

std::string_view strip(std::string_view text, const std::string_view* chars, bool left,
                       bool right) {
  const auto stripped = [&](std::size_t at) {
    const CodePoint c = code_point_at(text, at);
    // A whole character's bytes are found in valid UTF-8 only where that character is.
    return chars == nullptr ? is_space_in_python(c.value)
                            : chars->find(text.substr(at, c.bytes)) != chars->npos;
  };
  while (left && !text.empty() && stripped(0)) text.remove_prefix(code_point_at(text, 0).bytes);
  while (right && !text.empty()) {
    const std::size_t last = code_point_before(text, text.size());
    if (!stripped(last)) break;
    text = text.substr(0, last);
  }
  return text;
}

}  // namespace spd::jinja
