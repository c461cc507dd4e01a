#include "model/tokenizer/python_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "kernels/device/utf8.h"
#include "model/tokenizer/unicode.h"

namespace spd {
namespace {

// Unicode's SpecialCasing.txt: characters whose title case is several, in order.
struct SpecialTitle {
  char32_t from;
  std::u32string_view to;
};
constexpr std::array<SpecialTitle, 48> kSpecialTitles{{
    {0x00DF, U"\x0053\x0073"},       {0x0149, U"\x02BC\x004E"},
    {0x01F0, U"\x004A\x030C"},       {0x0390, U"\x0399\x0308\x0301"},
    {0x03B0, U"\x03A5\x0308\x0301"}, {0x0587, U"\x0535\x0582"},
    {0x1E96, U"\x0048\x0331"},       {0x1E97, U"\x0054\x0308"},
    {0x1E98, U"\x0057\x030A"},       {0x1E99, U"\x0059\x030A"},
    {0x1E9A, U"\x0041\x02BE"},       {0x1F50, U"\x03A5\x0313"},
    {0x1F52, U"\x03A5\x0313\x0300"}, {0x1F54, U"\x03A5\x0313\x0301"},
    {0x1F56, U"\x03A5\x0313\x0342"}, {0x1FB2, U"\x1FBA\x0345"},
    {0x1FB4, U"\x0386\x0345"},       {0x1FB6, U"\x0391\x0342"},
    {0x1FB7, U"\x0391\x0342\x0345"}, {0x1FC2, U"\x1FCA\x0345"},
    {0x1FC4, U"\x0389\x0345"},       {0x1FC6, U"\x0397\x0342"},
    {0x1FC7, U"\x0397\x0342\x0345"}, {0x1FD2, U"\x0399\x0308\x0300"},
    {0x1FD3, U"\x0399\x0308\x0301"}, {0x1FD6, U"\x0399\x0342"},
    {0x1FD7, U"\x0399\x0308\x0342"}, {0x1FE2, U"\x03A5\x0308\x0300"},
    {0x1FE3, U"\x03A5\x0308\x0301"}, {0x1FE4, U"\x03A1\x0313"},
    {0x1FE6, U"\x03A5\x0342"},       {0x1FE7, U"\x03A5\x0308\x0342"},
    {0x1FF2, U"\x1FFA\x0345"},       {0x1FF4, U"\x038F\x0345"},
    {0x1FF6, U"\x03A9\x0342"},       {0x1FF7, U"\x03A9\x0342\x0345"},
    {0xFB00, U"\x0046\x0066"},       {0xFB01, U"\x0046\x0069"},
    {0xFB02, U"\x0046\x006C"},       {0xFB03, U"\x0046\x0066\x0069"},
    {0xFB04, U"\x0046\x0066\x006C"}, {0xFB05, U"\x0053\x0074"},
    {0xFB06, U"\x0053\x0074"},       {0xFB13, U"\x0544\x0576"},
    {0xFB14, U"\x0544\x0565"},       {0xFB15, U"\x0544\x056B"},
    {0xFB16, U"\x054E\x0576"},       {0xFB17, U"\x0544\x056D"},
}};
constexpr char32_t kCapitalSigma = 0x03A3;
constexpr char32_t kSmallSigma = 0x03C3;
constexpr char32_t kFinalSigma = 0x03C2;
constexpr char32_t kCapitalDottedI = 0x0130;

utf8proc_category_t category(char32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

void append_title(std::string& text, char32_t code_point) {
  const auto* const special = std::lower_bound(
      kSpecialTitles.begin(), kSpecialTitles.end(), code_point,
      [](const SpecialTitle& entry, char32_t value) { return entry.from < value; });
  if (special != kSpecialTitles.end() && special->from == code_point) {
    for (const char32_t mapped : special->to) append_utf8(text, mapped);
    return;
  }
  append_utf8(text,
              static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code_point))));
}

bool is_cased(char32_t code_point) {
  const utf8proc_category_t kind = category(code_point);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL ||
         kind == UTF8PROC_CATEGORY_LT;
}

// Case_Ignorable: marks, formats, modifiers, and the marks that stand within words.
bool is_case_ignorable(char32_t code_point) {
  constexpr std::u32string_view kWithinWords =
      U"'.:\x00B7\x0387\x055F\x05F4\x2018\x2019\x2024\x2027\xFE13\xFE52\xFE55\xFF07\xFF0E\xFF1A";
  const utf8proc_category_t kind = category(code_point);
  return kind == UTF8PROC_CATEGORY_MN || kind == UTF8PROC_CATEGORY_ME ||
         kind == UTF8PROC_CATEGORY_CF || kind == UTF8PROC_CATEGORY_LM ||
         kind == UTF8PROC_CATEGORY_SK || kWithinWords.find(code_point) != kWithinWords.npos;
}

// Whether the sigma of two bytes at `at` ends a word (SpecialCasing.txt, Final_Sigma).
bool ends_word(std::string_view text, std::size_t at) {
  bool behind_letter = false;
  for (std::size_t before = at; before > 0;) {
    before = code_point_before(text, before);
    const char32_t value = code_point_at(text, before).value;
    if (is_case_ignorable(value)) continue;
    behind_letter = is_cased(value);
    break;
  }
  if (!behind_letter) return false;
  for (std::size_t next = at + 2; next < text.size();) {
    const CodePoint point = code_point_at(text, next);
    if (!is_case_ignorable(point.value)) return !is_cased(point.value);
    next += point.bytes;
  }
  return true;
}

}  // namespace

bool is_python_space(char32_t code_point) {
  return is_space(code_point) || (code_point >= 0x1C && code_point <= 0x1F);
}

std::string_view python_lstrip(std::string_view text) {
  while (!text.empty()) {
    const CodePoint first = code_point_at(text, 0);
    if (!is_python_space(first.value)) break;
    text.remove_prefix(first.bytes);
  }
  return text;
}

std::string_view python_rstrip(std::string_view text) {
  while (!text.empty()) {
    const std::size_t last = code_point_before(text, text.size());
    if (!is_python_space(code_point_at(text, last).value)) break;
    text = text.substr(0, last);
  }
  return text;
}

std::string_view python_strip(std::string_view text) { return python_lstrip(python_rstrip(text)); }

std::string python_capitalize(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = code_point_at(text, at);
    if (at == 0) {
      append_title(result, point.value);
    } else if (point.value == kCapitalSigma) {
      append_utf8(result, ends_word(text, at) ? kFinalSigma : kSmallSigma);
    } else if (point.value == kCapitalDottedI) {
      result += "i\u0307";
    } else {
      append_utf8(result, static_cast<char32_t>(
                              utf8proc_tolower(static_cast<utf8proc_int32_t>(point.value))));
    }
    at += point.bytes;
  }
  return result;
}

}  // namespace spd
