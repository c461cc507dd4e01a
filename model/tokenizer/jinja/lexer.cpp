#include "model/tokenizer/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/literals.h"
#include "model/tokenizer/unicode.h"

namespace spd::jinja {
namespace {

/// Lines end in \n alone, and one line end at the very end goes, as in Jinja.
std::string normalized(std::string_view source) {
  std::string lines;
  lines.reserve(source.size());
  for (std::size_t at = 0; at < source.size(); ++at) {
    const bool pair = source[at] == '\r' && at + 1 < source.size() && source[at + 1] == '\n';
    if (!pair) lines += source[at] == '\r' ? '\n' : source[at];
  }
  if (!lines.empty() && lines.back() == '\n') lines.pop_back();
  return lines;
}

class Lexer {
 public:
  Lexer(Rendering& rendering, std::string_view source)
      : rendering_(rendering), source_(normalized(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) outside();
    add(Token::Kind::end, "", at_);
    return std::move(tokens_);
  }

 private:
  std::string_view rest(std::size_t from) const { return std::string_view(source_).substr(from); }
  bool starts(std::size_t from, std::string_view text) const {
    return rest(from).starts_with(text);
  }

  /// Called with growing offsets.
  Place place(std::size_t offset) {
    if (offset < seen_) {
      seen_ = 0;
      place_ = {1, 1};
    }
    for (; seen_ < offset; ++seen_) {
      if (source_[seen_] == '\n') {
        place_ = {place_.line + 1, 1};
      } else if ((static_cast<unsigned char>(source_[seen_]) & 0xc0) != 0x80) {
        ++place_.column;
      }
    }
    // Of a character's further bytes, the column is its first byte's.
    return place_;
  }

  void add(Token::Kind kind, std::string text, std::size_t offset, Value number = {}) {
    tokens_.push_back({kind, std::move(text), std::move(number), place(offset)});
  }

  std::size_t skip_space(std::size_t at) const {
    while (at < source_.size()) {
      const CodePoint c = code_point_at(source_, at);
      if (!is_space_in_python(c.value)) break;
      at += c.bytes;
    }
    return at;
  }

  /// Text up to the next tag, and the tag.
  void outside() {
    const std::size_t start = at_;
    std::size_t tag = start;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == source_.npos || tag + 1 == source_.size()) {
        data(start, source_.size());
        at_ = source_.size();
        return;
      }
      const char next = source_[tag + 1];
      if (next == '%' || next == '{' || next == '#') break;
    }
    const char kind = source_[tag + 1];
    const std::size_t inside = tag + 2;
    const char sign = inside < source_.size() && (source_[inside] == '-' || source_[inside] == '+')
                          ? source_[inside]
                          : '\0';
    data(start, stripped_end(start, tag, sign, kind != '{'));
    at_ = inside + (sign != '\0');
    if (kind == '#') return comment(tag);
    if (kind == '%' && raw(tag)) return;
    add(kind == '%' ? Token::Kind::block_begin : Token::Kind::variable_begin, "", tag);
    inside_tag(kind == '%');
  }

  void data(std::size_t start, std::size_t end) {
    if (end > start) add(Token::Kind::data, source_.substr(start, end - start), start);
  }

  /// Where the text before a tag ends once its white space is taken: all with '-', with neither
  /// sign what stands before a block on its line.
  std::size_t stripped_end(std::size_t start, std::size_t tag, char sign, bool is_block) const {
    const std::string_view text = rest(start).substr(0, tag - start);
    if (sign == '-') return start + strip(text, nullptr, false, true).size();
    if (sign == '+' || !is_block) return tag;
    const std::size_t line_end = text.rfind('\n');
    if (line_end == text.npos && !line_starting_) return tag;
    const std::size_t line = line_end == text.npos ? 0 : line_end + 1;
    return strip(text.substr(line), nullptr, true, false).empty() ? start + line : tag;
  }

  /// Takes a tag's end at `at`: "%}" with the line end after it, "-%}" with all white space, "+%}"
  /// with nothing. 0 where there is none.
  std::size_t tag_end(std::size_t at, std::string_view end, bool trims, bool may_keep) {
    std::size_t after = 0;
    if (may_keep && starts(at, "+") && starts(at + 1, end)) {
      after = at + 1 + end.size();
    } else if (starts(at, "-") && starts(at + 1, end)) {
      after = skip_space(at + 1 + end.size());
    } else if (starts(at, end)) {
      after = at + end.size();
      if (trims && starts(after, "\n")) ++after;
    }
    if (after != 0) line_starting_ = source_[after - 1] == '\n';
    return after;
  }

  void comment(std::size_t tag) {
    for (std::size_t at = at_; at < source_.size(); ++at) {
      if (const std::size_t after = tag_end(at, "#}", true, true)) {
        at_ = after;
        return;
      }
    }
    fail("Missing end of comment tag", place(tag));
  }

  /// {% raw %} ... {% endraw %}; false where the tag is another one.
  bool raw(std::size_t tag) {
    const std::size_t word = skip_space(at_);
    if (!starts(word, "raw")) return false;
    std::size_t after = tag_end(skip_space(word + 3), "%}", false, false);
    if (after == 0) return false;
    for (std::size_t end = after; (end = source_.find("{%", end)) != source_.npos; ++end) {
      const char mark = end + 2 < source_.size() ? source_[end + 2] : '\0';
      const char sign = mark == '-' || mark == '+' ? mark : '\0';
      const std::size_t name = skip_space(end + 2 + (sign != '\0'));
      if (!starts(name, "endraw")) continue;
      const bool line_starting = line_starting_;
      const std::size_t next = tag_end(skip_space(name + 6), "%}", true, true);
      if (next == 0) continue;
      const bool then = std::exchange(line_starting_, line_starting);
      data(after, stripped_end(after, end, sign, true));
      line_starting_ = then;
      at_ = next;
      return true;
    }
    fail("Missing end of raw directive", place(tag));
  }

  void inside_tag(bool is_block) {
    std::string brackets;  // those that are open, as what closes them
    while (at_ < source_.size()) {
      if (brackets.empty()) {
        const std::size_t after =
            is_block ? tag_end(at_, "%}", true, true) : tag_end(at_, "}}", false, false);
        if (after != 0) {
          add(is_block ? Token::Kind::block_end : Token::Kind::variable_end, "", at_);
          at_ = after;
          return;
        }
      }
      rendering_.step();
      const std::size_t after = skip_space(at_);
      if (after != at_) {
        at_ = after;
      } else if (!number() && !name() && !string()) {
        sign(brackets);
      }
    }
  }

  bool number() {
    const NumberLiteral literal = read_number(rendering_, source_, at_);
    if (literal.size == 0) return false;
    add(Token::Kind::number, source_.substr(at_, literal.size), at_, literal.value);
    at_ += literal.size;
    return true;
  }

  bool name() {
    const auto is_part = [](char32_t c) {
      return c == '_' ||
             (c < 0x80 ? (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
                       : is_word(c));
    };
    std::size_t end = at_;
    while (end < source_.size()) {
      const CodePoint c = code_point_at(source_, end);
      if (!is_part(c.value)) break;
      if (c.value >= 0x80) fail("a name of other than ASCII letters is not supported", place(end));
      end += c.bytes;
    }
    if (end == at_) return false;
    if (source_[at_] >= '0' && source_[at_] <= '9') {
      fail("Invalid character in identifier", place(at_));
    }
    add(Token::Kind::name, source_.substr(at_, end - at_), at_);
    at_ = end;
    return true;
  }

  bool string() {
    const char quote = source_[at_];
    if (quote != '\'' && quote != '"') return false;
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return false;
    try {
      add(Token::Kind::string, unescape(rest(at_ + 1).substr(0, end - at_ - 1)), at_);
    } catch (Failure& failure) {
      failure.place = place(at_);
      throw;
    }
    at_ = end + 1;
    return true;
  }

  void sign(std::string& brackets) {
    constexpr auto kSigns = std::to_array<std::string_view>(
        {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
         "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"});
    const auto* found = std::find_if(kSigns.begin(), kSigns.end(),
                                     [&](std::string_view sign) { return starts(at_, sign); });
    if (found == kSigns.end()) {
      const std::size_t size = code_point_at(source_, at_).bytes;
      fail("unexpected char '" + source_.substr(at_, size) + "'", place(at_));
    }
    const char c = (*found)[0];
    if (c == '(' || c == '[' || c == '{') {
      brackets += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (brackets.empty()) fail(std::string("unexpected '") + c + "'", place(at_));
      if (brackets.back() != c) {
        fail(std::string("unexpected '") + c + "', expected '" + brackets.back() + "'", place(at_));
      }
      brackets.pop_back();
    }
    add(Token::Kind::sign, std::string(*found), at_);
    at_ += found->size();
  }

  Rendering& rendering_;
  std::string source_;
  std::size_t at_ = 0;
  bool line_starting_ = true;  ///< what was taken last ended a line
  std::size_t seen_ = 0;       ///< place_ is of this offset
  Place place_ = {1, 1};
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(Rendering& rendering, std::string_view source) {
  return Lexer(rendering, source).run();
}

}  // namespace spd::jinja
