#include "model/tokenizer/regex_syntax.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "model/tokenizer/regex_class.h"
#include "model/tokenizer/unicode.h"

namespace spd {
namespace {

// Deeper than any pattern that people write; bounds the translator's recursion.
constexpr int kMaxDepth = 100;
constexpr int kMaxRepeat = 65535;  // PCRE2's

struct Flags {
  bool ignore_case = false, dot_matches_all = false, extended = false;
};

// What an escape stands for: one character, a set of them, or a place.
struct Escape {
  std::optional<char32_t> character;
  std::string items;  // of a set
  bool all_but = false;
  std::string text;  // as PCRE2 says it outside of classes, where neither of the above
  bool repeatable = true;
};

struct Atom {
  std::string text;
  bool repeatable = true;
  std::optional<char32_t> literal = std::nullopt;
};

std::string literal_text(char32_t c) {
  const bool plain = c >= 0x80 || std::isalnum(static_cast<unsigned char>(c)) != 0 || c == ' ';
  if (!plain) return fmt::format("\\x{{{:x}}}", static_cast<std::uint32_t>(c));
  std::string text;
  append_utf8(text, c);
  return text;
}

bool folds_into_several(char32_t c) {
  utf8proc_int32_t folded[4];
  const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded, 4,
                                             UTF8PROC_CASEFOLD, nullptr);
  return count > 1;
}

// Whether some letter's folded form has `b` after `a`.
bool meet_in_a_fold(char32_t a, char32_t b) {
  constexpr std::string_view kPairs[] = {"ss", "ff", "fi", "fl", "st"};
  if (a < 0x80 && b < 0x80) {
    const char pair[] = {static_cast<char>(std::tolower(static_cast<int>(a))),
                         static_cast<char>(std::tolower(static_cast<int>(b)))};
    return std::find(std::begin(kPairs), std::end(kPairs), std::string_view(pair, 2)) !=
           std::end(kPairs);
  }
  // The long s folds to s; marks, iotas and Armenian letters are what else ends such forms.
  const auto is_s = [](char32_t c) {
    return c == 's' || c == 'S' || c == 't' || c == 'T' || c == 0x17F;
  };
  const bool ends_fold = (b >= 0x300 && b < 0x370) || b == 0x2BE || b == 0x3B9 || b == 0x399 ||
                         b == 0x1FBE || (b >= 0x530 && b < 0x590);
  return ends_fold || a == 0x2BC || (is_s(a) && is_s(b));
}

class Translator {
 public:
  explicit Translator(const std::string& pattern) : pattern_(pattern) {}

  std::string translate() {
    if (replace_invalid_utf8(pattern_) != pattern_) refuse(0, "not valid UTF-8");
    std::string text = alternatives({}, 0);
    if (at_ < pattern_.size()) refuse(at_, "no group is open here");
    return text;
  }

 private:
  [[noreturn]] void refuse(std::size_t place, const std::string& problem) const {
    throw Error(ErrorCode::input, fmt::format("regular expression /{}/, byte {}: {}",
                                              printable(pattern_), place, problem));
  }
  [[noreturn]] void not_supported(std::size_t place, const std::string& what) const {
    refuse(place, what + " is not supported");
  }

  bool ended() const { return at_ >= pattern_.size(); }
  bool next_is(std::string_view text) const {
    return pattern_.compare(at_, text.size(), text) == 0;
  }
  bool take(std::string_view text) {
    if (!next_is(text)) return false;
    at_ += text.size();
    return true;
  }
  char32_t take_character() {
    const CodePoint c = code_point_at(pattern_, at_);
    at_ += c.bytes;
    return c.value;
  }

  // Up to the end of the group, or of the pattern.
  std::string alternatives(Flags flags, int depth) {
    if (depth > kMaxDepth) refuse(at_, "groups nest too deeply");
    std::string text;
    run_.reset();
    while (true) {
      skip_unseen(flags);
      if (ended() || pattern_[at_] == ')') break;
      if (take("|")) {
        run_.reset();
        text += '|';
        continue;
      }
      if (std::optional<Flags> rest = isolated_options(flags)) {
        // They hold up to the end of the group, its further alternatives included.
        text += opening(flags, *rest) + alternatives(*rest, depth + 1) + ")";
        break;
      }
      const std::size_t begin = at_;
      const Atom one = atom(flags, depth);
      text += repeated(one, flags, begin);
    }
    run_.reset();
    return text;
  }

  // White space and comments of the extended form, and (?#...).
  void skip_unseen(Flags flags) {
    while (!ended()) {
      if (take("(?#")) {
        const std::size_t end = pattern_.find(')', at_);
        if (end == std::string::npos || pattern_.find('\\', at_) < end) {
          refuse(at_, "the comment does not end");
        }
        at_ = end + 1;
      } else if (flags.extended &&
                 std::string_view(" \t\n\r\f\v").find(pattern_[at_]) != std::string_view::npos) {
        ++at_;
      } else if (flags.extended && pattern_[at_] == '#') {
        at_ = std::min(pattern_.find('\n', at_), pattern_.size());
      } else {
        return;
      }
    }
  }

  static std::string opening(Flags before, Flags after) {
    if (before.ignore_case == after.ignore_case) return "(?:";
    return after.ignore_case ? "(?i:" : "(?-i:";
  }

  // The letters of (?imx-imx; at the ':' or ')' after them.
  Flags options(Flags flags) {
    bool on = true;
    for (; !ended() && pattern_[at_] != ':' && pattern_[at_] != ')'; ++at_) {
      switch (pattern_[at_]) {
        case '-':
          on = false;
          break;
        case 'i':
          flags.ignore_case = on;
          break;
        case 'm':
          flags.dot_matches_all = on;
          break;
        case 'x':
          flags.extended = on;
          break;
        default:
          not_supported(at_, "this kind of group or option");
      }
    }
    if (ended()) refuse(at_, "the group does not end");
    return flags;
  }

  std::optional<Flags> isolated_options(Flags flags) {
    const std::size_t begin = at_;
    if (!take("(?") || ended() ||
        std::string_view("imx-").find(pattern_[at_]) == std::string::npos) {
      at_ = begin;
      return std::nullopt;
    }
    const Flags changed = options(flags);
    if (take(")")) return changed;
    at_ = begin;
    return std::nullopt;
  }

  Atom atom(Flags flags, int depth) {
    const std::size_t begin = at_;
    if (next_is("(")) return group(flags, depth);
    if (take("[")) {
      run_.reset();
      return {character_class(flags, depth).text()};
    }
    if (take(".")) return {flags.dot_matches_all ? "(?s:.)" : R"([^\x0a])"};
    if (take("^")) return {"^", false};
    if (take("$")) return {"$", false};
    if (std::string_view("*+?").find(pattern_[at_]) != std::string_view::npos || interval()) {
      refuse(begin, "there is nothing to repeat");
    }
    if (next_is("\\")) {
      Escape escape = take_escape(false);
      if (escape.character) return literal(*escape.character, flags, begin);
      if (!escape.text.empty()) return {std::move(escape.text), escape.repeatable};
      RegexClass set;
      set.add(escape.items, escape.all_but);
      return {set.text()};
    }
    return literal(take_character(), flags, begin);
  }

  Atom literal(char32_t c, Flags flags, std::size_t begin) {
    if (flags.ignore_case) {
      if (folds_into_several(c)) {
        not_supported(begin, "ignoring the case of a letter that folds into several");
      }
      if (run_ && meet_in_a_fold(*run_, c)) {
        not_supported(begin, "ignoring the case of letters that one letter folds into");
      }
    }
    return {literal_text(c), true, c};
  }

  Atom group(Flags flags, int depth) {
    const std::size_t begin = at_;
    run_.reset();
    ++at_;
    if (next_is("*")) not_supported(begin, "a callout");
    std::string open = "(?:";
    Flags inner = flags;
    bool repeatable = true;
    if (take("?")) {
      if (take("=")) {
        open = "(?=";
      } else if (take("!")) {
        open = "(?!";
      } else if (take("<=")) {
        open = "(?<=";
      } else if (take("<!")) {
        open = "(?<!";
      } else if (take(">")) {
        open = "(?>";
      } else if (next_is("<") || next_is("'")) {
        // Whatever the name: nothing can refer to it.
        const char closing = pattern_[at_] == '<' ? '>' : '\'';
        const std::size_t end = pattern_.find(closing, at_ + 1);
        if (end == std::string::npos || end == at_ + 1)
          refuse(begin, "the group's name does not end");
        at_ = end + 1;
      } else {
        inner = options(flags);
        open = opening(flags, inner);
        ++at_;
      }
      repeatable = open.back() == ':' || open == "(?>";
    }
    std::string text = open + alternatives(inner, depth + 1);
    if (!take(")")) refuse(begin, "the group does not end");
    return {text + ")", repeatable};
  }

  struct Interval {
    int least = 0, most = -1;  // -1: no limit
    bool fixed = false;        // {n}
    std::size_t end = 0;
  };

  // {n}, {n,}, {,m} or {n,m} at this place; anything else is plain text.
  std::optional<Interval> interval() const {
    if (ended() || pattern_[at_] != '{') return std::nullopt;
    const std::size_t end = pattern_.find('}', at_);
    if (end == std::string::npos) return std::nullopt;
    const auto number = [&](std::string_view digits) {
      long long value = 0;
      for (const char c : digits) value = std::min(value * 10 + (c - '0'), 1'000'000LL);
      if (value > kMaxRepeat) refuse(at_, fmt::format("more than {} repetitions", kMaxRepeat));
      return static_cast<int>(value);
    };
    const std::string_view inner = std::string_view(pattern_).substr(at_ + 1, end - at_ - 1);
    const std::size_t comma = inner.find(',');
    const std::string_view low = inner.substr(0, comma);
    const std::string_view high = comma == std::string_view::npos ? "" : inner.substr(comma + 1);
    for (const std::string_view part : {low, high}) {
      if (part.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    }
    if (low.empty() && high.empty()) return std::nullopt;
    Interval found;
    found.least = number(low);
    found.fixed = comma == std::string_view::npos;
    if (found.fixed) found.most = found.least;
    if (!high.empty()) found.most = number(high);
    found.end = end + 1;
    return found;
  }

  // The atom with the repetition that follows it, if one does.
  std::string repeated(const Atom& one, Flags flags, std::size_t begin) {
    skip_unseen(flags);
    const std::string quantifier = take_quantifier(one, begin);
    skip_unseen(flags);
    if (!quantifier.empty() &&
        (interval() ||
         (!ended() && std::string_view("*+?").find(pattern_[at_]) != std::string::npos))) {
      not_supported(at_, "repeating a repetition");
    }
    run_ = quantifier.empty() ? one.literal : std::nullopt;
    if (quantifier.empty()) return one.text;
    if (!outer_.empty()) {
      return fmt::format("(?:{}{}){}", one.text, quantifier, std::exchange(outer_, ""));
    }
    return one.text + quantifier;
  }

  // PCRE2's quantifier for one(); outer_: what repeats all of that in turn.
  std::string take_quantifier(const Atom& one, std::size_t begin) {
    if (ended()) return "";
    const std::size_t place = at_;
    std::string text;
    const std::optional<Interval> range = interval();
    if (range) {
      if (range->most >= 0 && range->least > range->most) {
        not_supported(place, "a repetition whose limits are the wrong way round");
      }
      at_ = range->end;
      text = fmt::format("{{{},{}}}", range->least,
                         range->most < 0 ? "" : std::to_string(range->most));
      // Only Perl's and Java's dialects have {n}? and {n,m}+ as one.
      if (take("+")) {
        outer_ = "+";
      } else if (range->fixed && take("?")) {
        outer_ = "?";
      } else if (take("?")) {
        text += '?';
      }
    } else if (take("*") || take("+") || take("?")) {
      text = std::string(1, pattern_[place]);
      if (take("?")) {
        text += '?';
      } else if (take("+")) {
        text += '+';
      }
    }
    if (!text.empty() && !one.repeatable) not_supported(begin, "repeating what takes no text");
    return text;
  }

  // At a backslash.
  Escape take_escape(bool in_class) {
    const std::size_t begin = at_++;
    if (ended()) refuse(begin, "a backslash at the end");
    const char32_t c = take_character();
    const auto character = [](char32_t value) { return Escape{value, {}, false, {}, true}; };
    const auto set = [&](std::string_view items, bool all_but) {
      return Escape{std::nullopt, std::string(items), all_but, {}, true};
    };
    const std::string word =
        in_class ? std::string(kWordItems) : fmt::format("{}{}", kWordItems, kLatin1WordItems);
    switch (c) {
      case 't':
        return character(0x09);
      case 'n':
        return character(0x0A);
      case 'v':
        return character(0x0B);
      case 'f':
        return character(0x0C);
      case 'r':
        return character(0x0D);
      case 'a':
        return character(0x07);
      case 'e':
        return character(0x1B);
      case 's':
      case 'S':
        return set(kSpaceItems, c == 'S');
      case 'w':
      case 'W':
        return set(word, c == 'W');
      case 'd':
      case 'D':
        return set(R"(\p{Nd})", c == 'D');
      case 'h':
      case 'H':
        return set("0-9A-Fa-f", c == 'H');
      case 'p':
      case 'P':
        return property(begin, c == 'P', in_class);
      case 'x':
      case 'u':
      case 'o':
        return character(take_code(begin, c));
      case '0':
        return character(take_octal(begin));
      default:
        break;
    }
    if (in_class && c == 'b') return character(0x08);
    if (!in_class) {
      if (std::optional<Escape> place = place_escape(c)) return *place;
    }
    const bool is_letter = c < 0x80 && std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (is_letter) not_supported(begin, fmt::format("\\{}", static_cast<char>(c)));
    return character(c);
  }

  // Escapes that stand for places, or for more than one character.
  static std::optional<Escape> place_escape(char32_t c) {
    const auto text = [](std::string value, bool repeatable) {
      return Escape{std::nullopt, {}, false, std::move(value), repeatable};
    };
    const std::string word = fmt::format("[{}{}]", kWordItems, kLatin1WordItems);
    switch (c) {
      case 'A':
        return text(R"(\A)", false);
      case 'z':
        return text(R"(\z)", false);
      case 'Z':
        return text(R"((?=\x0a?\z))", false);
      case 'b':
        return text(fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word), false);
      case 'B':
        return text(fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word), false);
      case 'R':
        return text(R"((?>\x0d\x0a|[\x0a-\x0d\x{85}\x{2028}\x{2029}]))", true);
      case 'N':
        return text(R"([^\x0a])", true);
      case 'O':
        return text("(?s:.)", true);
      default:
        return std::nullopt;
    }
  }

  Escape property(std::size_t begin, bool all_but, bool in_class) {
    if (!take("{")) refuse(begin, "a property needs a name in braces");
    const std::size_t end = pattern_.find('}', at_);
    if (end == std::string::npos) refuse(begin, "the property's name does not end");
    if (take("^")) all_but = !all_but;
    const std::string name = pattern_.substr(at_, end - at_);
    std::string items = property_items(name);
    if (items == kWordItems && !in_class) items += kLatin1WordItems;
    if (items.empty()) not_supported(begin, fmt::format("the property {}", printable(name)));
    at_ = end + 1;
    return {std::nullopt, std::move(items), all_but, {}, true};
  }

  char32_t take_digits(std::size_t begin, int base, std::size_t least, std::size_t most) {
    std::uint64_t value = 0;
    std::size_t count = 0;
    for (; count < most && !ended(); ++count, ++at_) {
      const auto c = static_cast<unsigned char>(pattern_[at_]);
      const int digit = std::isdigit(c) != 0    ? c - '0'
                        : std::isxdigit(c) != 0 ? std::tolower(c) - 'a' + 10
                                                : 16;
      if (digit >= base) break;
      value = value * static_cast<unsigned>(base) + static_cast<unsigned>(digit);
    }
    const bool surrogate = value >= 0xD800 && value < 0xE000;
    if (count < least || value > 0x10FFFF || surrogate)
      refuse(begin, "not the code of a character");
    return static_cast<char32_t>(value);
  }

  // \xHH, \x{H...}, \uHHHH, \o{O...}.
  char32_t take_code(std::size_t begin, char32_t kind) {
    constexpr std::size_t kMostDigits = 11;
    if (kind == 'u') return take_digits(begin, 16, 4, 4);
    if (take("{")) {
      const char32_t code = take_digits(begin, kind == 'o' ? 8 : 16, 1, kMostDigits);
      if (!take("}")) refuse(begin, "not the code of one character");
      return code;
    }
    if (kind == 'o') not_supported(begin, "\\o without braces");
    return ascii(begin, take_digits(begin, 16, 1, 2));
  }

  char32_t take_octal(std::size_t begin) { return ascii(begin, take_digits(begin, 8, 0, 2)); }

  // Two digits say a byte, which beyond ASCII is a piece of a character.
  char32_t ascii(std::size_t begin, char32_t code) const {
    if (code >= 0x80) not_supported(begin, "a byte beyond ASCII (write \\x{...})");
    return code;
  }

  // Behind the opening bracket.
  RegexClass character_class(Flags flags, int depth) {
    const std::size_t begin = at_ - 1;
    if (depth > kMaxDepth) refuse(begin, "classes nest too deeply");
    RegexClass set;
    set.negated = take("^");
    if (next_is("]")) not_supported(at_, "a class that begins with ] (write \\])");
    bool side_empty = true;
    while (!take("]")) {
      if (ended()) refuse(begin, "the class does not end");
      const std::size_t place = at_;
      if (take("&&")) {
        if (side_empty || next_is("]")) not_supported(place, "an intersection with nothing");
        set.intersect();
        side_empty = true;
        continue;
      }
      side_empty = false;
      if (take("[:")) {
        posix(set, flags, place);
      } else if (take("[")) {
        const RegexClass inner = character_class(flags, depth + 1);
        set.sets.push_back(inner.text());
      } else {
        class_item(set, flags, place);
      }
    }
    return set;
  }

  void posix(RegexClass& set, Flags flags, std::size_t place) {
    const bool all_but = take("^");
    const std::size_t end = pattern_.find(":]", at_);
    const std::string name = end == std::string::npos ? "" : pattern_.substr(at_, end - at_);
    const std::string items = posix_items(name);
    if (items.empty()) not_supported(place, "this bracket within a class");
    if (flags.ignore_case) refuse_fold(place);
    at_ = end + 2;
    set.add(items, all_but);
  }

  [[noreturn]] void refuse_fold(std::size_t place) const {
    not_supported(place, "ignoring case in a class of more than ASCII");
  }

  // A character, a range or an escaped set.
  void class_item(RegexClass& set, Flags flags, std::size_t place) {
    const std::optional<char32_t> low = class_character(set, flags, place);
    if (!low) {
      if (next_is("-") && !next_is("-]")) not_supported(at_, "a range that begins with a set");
      return;
    }
    const bool dash_itself = pattern_[place] == '-';
    if (dash_itself && !next_is("]") && !(place > 0 && pattern_[place - 1] == '[')) {
      not_supported(place, "a bare - within a class (write \\-)");
    }
    if (!next_is("-") || next_is("-]")) {
      set.items += literal_text(*low);
      return;
    }
    ++at_;
    const std::size_t high_place = at_;
    if (ended() || next_is("[") || next_is("&&") || dash_itself) {
      not_supported(high_place, "this end of a range");
    }
    RegexClass unused;
    const std::optional<char32_t> high = class_character(unused, flags, high_place);
    if (!high || *high < *low || (pattern_[high_place] == '-')) {
      not_supported(high_place, "this end of a range");
    }
    set.items += literal_text(*low) + "-" + literal_text(*high);
    if (next_is("-") && !next_is("-]")) not_supported(at_, "a range after a range");
  }

  // One character; none for a set, which is added.
  std::optional<char32_t> class_character(RegexClass& set, Flags flags, std::size_t place) {
    char32_t c = 0;
    if (next_is("\\")) {
      const Escape escape = take_escape(true);
      if (!escape.character) {
        const bool caseless = escape.items == kSpaceItems || escape.items == R"(\p{Nd})";
        if (flags.ignore_case && !caseless) refuse_fold(place);
        set.add(escape.items, escape.all_but);
        return std::nullopt;
      }
      c = *escape.character;
    } else {
      c = take_character();
    }
    if (flags.ignore_case && c >= 0x80) refuse_fold(place);
    return c;
  }

  const std::string& pattern_;
  std::size_t at_ = 0;
  std::optional<char32_t> run_;  // the literal just before this place
  std::string outer_;
};

}  // namespace

std::string translate_oniguruma(const std::string& pattern) {
  return Translator(pattern).translate();
}

}  // namespace spd
