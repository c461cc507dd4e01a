#include "model/tokenizer/regex_syntax.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "kernels/device/utf8.h"
#include "model/tokenizer/regex_class.h"
#include "model/tokenizer/regex_escape.h"

namespace spd {
namespace {

// Deeper than any pattern that people write; bounds the translator's recursion.
constexpr int kMaxDepth = 100;
constexpr int kMaxRepeat = 65535;  // PCRE2's

struct Flags {
  bool ignore_case = false, dot_matches_all = false, extended = false;
};

struct Atom {
  std::string text;
  bool repeatable = true;
  std::optional<char32_t> literal = std::nullopt;
};

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
  explicit Translator(const std::string& pattern) : cursor_{pattern} {}

  std::string translate() {
    if (replace_invalid_utf8(cursor_.pattern) != cursor_.pattern)
      cursor_.refuse(0, "not valid UTF-8");
    std::string text = alternatives({}, 0);
    if (cursor_.at < cursor_.pattern.size()) cursor_.refuse(cursor_.at, "no group is open here");
    return text;
  }

 private:
  // Up to the end of the group, or of the pattern.
  std::string alternatives(Flags flags, int depth) {
    if (depth > kMaxDepth) cursor_.refuse(cursor_.at, "groups nest too deeply");
    std::string text;
    run_.reset();
    while (true) {
      skip_unseen(flags);
      if (cursor_.ended() || cursor_.pattern[cursor_.at] == ')') break;
      if (cursor_.take("|")) {
        run_.reset();
        text += '|';
        continue;
      }
      if (std::optional<Flags> rest = isolated_options(flags)) {
        // They hold up to the end of the group, its further alternatives included.
        text += opening(flags, *rest) + alternatives(*rest, depth + 1) + ")";
        break;
      }
      const std::size_t begin = cursor_.at;
      const Atom one = atom(flags, depth);
      text += repeated(one, flags, begin);
    }
    run_.reset();
    return text;
  }

  // White space and comments of the extended form, and (?#...).
  void skip_unseen(Flags flags) {
    while (!cursor_.ended()) {
      if (cursor_.take("(?#")) {
        const std::size_t end = cursor_.pattern.find(')', cursor_.at);
        if (end == std::string::npos || cursor_.pattern.find('\\', cursor_.at) < end) {
          cursor_.refuse(cursor_.at, "the comment does not end");
        }
        cursor_.at = end + 1;
      } else if (flags.extended &&
                 std::string_view(" \t\n\r\f\v").find(cursor_.pattern[cursor_.at]) !=
                     std::string_view::npos) {
        ++cursor_.at;
      } else if (flags.extended && cursor_.pattern[cursor_.at] == '#') {
        cursor_.at = std::min(cursor_.pattern.find('\n', cursor_.at), cursor_.pattern.size());
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
    for (; !cursor_.ended() && cursor_.pattern[cursor_.at] != ':' &&
           cursor_.pattern[cursor_.at] != ')';
         ++cursor_.at) {
      switch (cursor_.pattern[cursor_.at]) {
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
          cursor_.not_supported(cursor_.at, "this kind of group or option");
      }
    }
    if (cursor_.ended()) cursor_.refuse(cursor_.at, "the group does not end");
    return flags;
  }

  std::optional<Flags> isolated_options(Flags flags) {
    const std::size_t begin = cursor_.at;
    if (!cursor_.take("(?") || cursor_.ended() ||
        std::string_view("imx-").find(cursor_.pattern[cursor_.at]) == std::string::npos) {
      cursor_.at = begin;
      return std::nullopt;
    }
    const Flags changed = options(flags);
    if (cursor_.take(")")) return changed;
    cursor_.at = begin;
    return std::nullopt;
  }

  Atom atom(Flags flags, int depth) {
    const std::size_t begin = cursor_.at;
    if (cursor_.next_is("(")) return group(flags, depth);
    if (cursor_.take("[")) {
      run_.reset();
      return {take_class(cursor_, flags.ignore_case, depth).text()};
    }
    if (cursor_.take(".")) return {flags.dot_matches_all ? "(?s:.)" : R"([^\x0a])"};
    if (cursor_.take("^")) return {"^", false};
    if (cursor_.take("$")) return {"$", false};
    if (std::string_view("*+?").find(cursor_.pattern[cursor_.at]) != std::string_view::npos ||
        interval()) {
      cursor_.refuse(begin, "there is nothing to repeat");
    }
    if (cursor_.next_is("\\")) {
      RegexEscape escape = take_escape(cursor_, false);
      if (escape.character) return literal(*escape.character, flags, begin);
      if (!escape.text.empty()) return {std::move(escape.text), escape.repeatable};
      RegexClass set;
      set.add(escape.items, escape.all_but);
      return {set.text()};
    }
    return literal(cursor_.take_character(), flags, begin);
  }

  Atom literal(char32_t c, Flags flags, std::size_t begin) {
    if (flags.ignore_case) {
      if (folds_into_several(c)) {
        cursor_.not_supported(begin, "ignoring the case of a letter that folds into several");
      }
      if (run_ && meet_in_a_fold(*run_, c)) {
        cursor_.not_supported(begin, "ignoring the case of letters that one letter folds into");
      }
    }
    return {literal_text(c), true, c};
  }

  Atom group(Flags flags, int depth) {
    const std::size_t begin = cursor_.at;
    run_.reset();
    ++cursor_.at;
    if (cursor_.next_is("*")) cursor_.not_supported(begin, "a callout");
    std::string open = "(?:";
    Flags inner = flags;
    bool repeatable = true;
    if (cursor_.take("?")) {
      if (cursor_.take("=")) {
        open = "(?=";
      } else if (cursor_.take("!")) {
        open = "(?!";
      } else if (cursor_.take("<=")) {
        open = "(?<=";
      } else if (cursor_.take("<!")) {
        open = "(?<!";
      } else if (cursor_.take(">")) {
        open = "(?>";
      } else if (cursor_.next_is("<") || cursor_.next_is("'")) {
        // Whatever the name: nothing can refer to it.
        const char closing = cursor_.pattern[cursor_.at] == '<' ? '>' : '\'';
        const std::size_t end = cursor_.pattern.find(closing, cursor_.at + 1);
        if (end == std::string::npos || end == cursor_.at + 1)
          cursor_.refuse(begin, "the group's name does not end");
        cursor_.at = end + 1;
      } else {
        inner = options(flags);
        open = opening(flags, inner);
        ++cursor_.at;
      }
      repeatable = open.back() == ':' || open == "(?>";
    }
    std::string text = open + alternatives(inner, depth + 1);
    if (!cursor_.take(")")) cursor_.refuse(begin, "the group does not end");
    return {text + ")", repeatable};
  }

  struct Interval {
    int least = 0, most = -1;  // -1: no limit
    bool fixed = false;        // {n}
    std::size_t end = 0;
  };

  // {n}, {n,}, {,m} or {n,m} at this place; anything else is plain text.
  std::optional<Interval> interval() const {
    if (cursor_.ended() || cursor_.pattern[cursor_.at] != '{') return std::nullopt;
    const std::size_t end = cursor_.pattern.find('}', cursor_.at);
    if (end == std::string::npos) return std::nullopt;
    const auto number = [&](std::string_view digits) {
      long long value = 0;
      for (const char c : digits) value = std::min(value * 10 + (c - '0'), 1'000'000LL);
      if (value > kMaxRepeat)
        cursor_.refuse(cursor_.at, fmt::format("more than {} repetitions", kMaxRepeat));
      return static_cast<int>(value);
    };
    const std::string_view inner =
        std::string_view(cursor_.pattern).substr(cursor_.at + 1, end - cursor_.at - 1);
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
         (!cursor_.ended() &&
          std::string_view("*+?").find(cursor_.pattern[cursor_.at]) != std::string::npos))) {
      cursor_.not_supported(cursor_.at, "repeating a repetition");
    }
    run_ = quantifier.empty() ? one.literal : std::nullopt;
    if (quantifier.empty()) return one.text;
    if (outer_ != 0) {
      return fmt::format("(?:{}{}){}", one.text, quantifier, std::exchange(outer_, '\0'));
    }
    return one.text + quantifier;
  }

  // PCRE2's quantifier for one(); outer_: what repeats all of that in turn.
  std::string take_quantifier(const Atom& one, std::size_t begin) {
    if (cursor_.ended()) return "";
    const std::size_t place = cursor_.at;
    std::string text;
    const std::optional<Interval> range = interval();
    if (range) {
      if (range->most >= 0 && range->least > range->most) {
        cursor_.not_supported(place, "a repetition whose limits are the wrong way round");
      }
      cursor_.at = range->end;
      text = fmt::format("{{{},{}}}", range->least,
                         range->most < 0 ? "" : std::to_string(range->most));
      // Only Perl's and Java's dialects have {n}? and {n,m}+ as one.
      if (cursor_.take("+")) {
        outer_ = '+';
      } else if (range->fixed && cursor_.take("?")) {
        outer_ = '?';
      } else if (cursor_.take("?")) {
        text += '?';
      }
    } else if (cursor_.take("*") || cursor_.take("+") || cursor_.take("?")) {
      text.push_back(cursor_.pattern[place]);
      if (cursor_.take("?")) {
        text += '?';
      } else if (cursor_.take("+")) {
        text += '+';
      }
    }
    if (!text.empty() && !one.repeatable)
      cursor_.not_supported(begin, "repeating what takes no text");
    return text;
  }

  RegexCursor cursor_;
  std::optional<char32_t> run_;  // the literal just before this place
  char outer_ = 0;               // what repeats a repetition; 0: nothing
};

}  // namespace

std::string translate_oniguruma(const std::string& pattern) {
  return Translator(pattern).translate();
}

}  // namespace spd
