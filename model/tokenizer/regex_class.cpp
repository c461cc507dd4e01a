#include "model/tokenizer/regex_class.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace spd {

void RegexClass::add(std::string_view set_items, bool all_but) {
  if (all_but) {
    sets.push_back(fmt::format("[^{}]", set_items));
  } else {
    items += set_items;
  }
}

std::string RegexClass::side() const {
  if (sets.empty()) return items.empty() ? "(?!)" : fmt::format("[{}]", items);
  std::string all = items.empty() ? "" : fmt::format("[{}]", items);
  for (const std::string& set : sets) all += (all.empty() ? "" : "|") + set;
  return fmt::format("(?:{})", all);
}

void RegexClass::intersect() {
  wholes.push_back(side());
  items.clear();
  sets.clear();
}

std::string RegexClass::text() const {
  if (wholes.empty() && sets.empty() && !items.empty()) {
    return fmt::format("[{}{}]", negated ? "^" : "", items);
  }
  std::string all;
  for (const std::string& whole : wholes) all += fmt::format("(?={})", whole);
  all += side();
  return negated ? fmt::format("(?:(?!{})(?s:.))", all) : fmt::format("(?:{})", all);
}

namespace {

struct Named {
  std::string_view name;
  std::string_view items;
};

// Compared with Oniguruma 6.9 character by character.
constexpr Named kPosix[] = {
    {"alnum", R"(\p{Alphabetic}\p{Nd})"},
    {"alpha", R"(\p{Alphabetic})"},
    {"ascii", R"(\x00-\x7f)"},
    {"blank", R"(\p{Zs}\x09)"},
    {"cntrl", R"(\p{Cc})"},
    {"digit", R"(\p{Nd})"},
    {"lower", R"(\p{Lowercase})"},
    {"space", kSpaceItems},
    {"upper", R"(\p{Uppercase})"},
    {"xdigit", "0-9A-Fa-f"},
    {"word", kWordItems},
    {"punct", R"(\p{P}\p{S})"},
    {"graph", R"(\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co})"},
    {"print", R"(\p{L}\p{M}\p{N}\p{P}\p{S}\p{Cf}\p{Co}\p{Zs})"},
};

// Long names of general categories; the short ones are PCRE2's.
constexpr Named kCategories[] = {
    {"letter", "L"},
    {"casedletter", "L&"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"other", "C"},
    {"privateuse", "Co"},
    {"lc", "L&"},
};
constexpr std::string_view kShort[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc",
                                       "Me", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps",
                                       "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So",
                                       "Z",  "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "C",  "Cn"};
constexpr std::string_view kBinary[] = {"Alphabetic",        "Uppercase", "Lowercase",
                                        "White_Space",       "Emoji",     "Extended_Pictographic",
                                        "Emoji_Presentation"};
// The scripts that tokenizers' patterns name.
constexpr std::string_view kScripts[] = {
    "Arabic",   "Armenian", "Bengali",  "Cyrillic", "Devanagari", "Ethiopic",  "Georgian",
    "Greek",    "Gujarati", "Gurmukhi", "Han",      "Hangul",     "Hebrew",    "Hiragana",
    "Kannada",  "Katakana", "Khmer",    "Lao",      "Latin",      "Malayalam", "Mongolian",
    "Myanmar",  "Oriya",    "Sinhala",  "Tamil",    "Telugu",     "Thai",      "Tibetan",
    "Bopomofo", "Yi",       "Common",   "Inherited"};

std::string loose(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c == ' ' || c == '_' || c == '-') continue;
    text += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return text;
}

template <std::size_t n>
std::string_view find_loosely(const std::string_view (&names)[n], std::string_view name) {
  const auto found = std::find_if(std::begin(names), std::end(names),
                                  [&](std::string_view known) { return loose(known) == name; });
  return found == std::end(names) ? std::string_view() : *found;
}

}  // namespace

std::string posix_items(std::string_view name) {
  for (const Named& named : kPosix) {
    if (named.name == name) return std::string(named.items);
  }
  return "";
}

std::string property_items(std::string_view name) {
  const std::string key = loose(name);
  if (key == "any") return R"(\x{0}-\x{10ffff})";
  // Most POSIX classes are properties, too.
  if (key == "punct") return R"(\p{P})";
  if (std::string items = posix_items(key); !items.empty()) return items;
  for (const Named& category : kCategories) {
    if (category.name == key) return fmt::format(R"(\p{{{}}})", category.items);
  }
  if (const auto found = find_loosely(kShort, key); !found.empty()) {
    return fmt::format(R"(\p{{{}}})", found);
  }
  if (const auto found = find_loosely(kBinary, key); !found.empty()) {
    return key == "whitespace" ? std::string(kSpaceItems) : fmt::format(R"(\p{{{}}})", found);
  }
  if (const auto found = find_loosely(kScripts, key); !found.empty()) {
    return fmt::format(R"(\p{{sc:{}}})", found);
  }
  return "";
}

}  // namespace spd
