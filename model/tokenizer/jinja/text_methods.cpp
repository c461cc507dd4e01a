// Methods of str.
#include <algorithm>
#include <array>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/formatting.h"
#include "model/tokenizer/jinja/methods.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/printing.h"
#include "model/tokenizer/jinja/splitting.h"

namespace spd::jinja {
namespace {

Value alike(Rendering& rendering, const Value& self, std::string bytes) {
  return rendering.text(std::move(bytes), self.text()->markup);
}

template <std::string (*Change)(std::string_view)>
Value change(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound none("str method", arguments, {});
  rendering.step(self.text()->length);
  return alike(rendering, self, Change(self.text()->bytes));
}

/// True where there is a character and all of them are of the kind.
template <bool (*Is)(char32_t)>
Value all(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound none("str method", arguments, {});
  const std::string& bytes = self.text()->bytes;
  rendering.step(self.text()->length);
  for (std::size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    if (!Is(c.value)) return false;
    at += c.bytes;
  }
  return !bytes.empty();
}

/// True where there is a cased character and none of another case.
template <bool (*Is)(char32_t), bool (*Other)(char32_t)>
Value all_cased(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound none("str method", arguments, {});
  const std::string& bytes = self.text()->bytes;
  rendering.step(self.text()->length);
  bool cased = false;
  for (std::size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    if (Other(c.value) || is_titlecase(c.value)) return false;
    cased |= Is(c.value);
    at += c.bytes;
  }
  return cased;
}

Value istitle(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound none("istitle", arguments, {});
  const std::string& bytes = self.text()->bytes;
  rendering.step(self.text()->length);
  bool cased = false;
  bool after_cased = false;
  for (std::size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    const bool starts = is_upper(c.value) || is_titlecase(c.value);
    const bool goes_on = !starts && is_lower(c.value);
    if ((starts && after_cased) || (goes_on && !after_cased)) return false;
    after_cased = starts || goes_on;
    cased |= after_cased;
    at += c.bytes;
  }
  return cased;
}

Value isascii(Rendering&, const Value& self, const Arguments& arguments) {
  const Bound none("isascii", arguments, {});
  return self.text()->is_ascii();
}

Value isprintable(Rendering& rendering, const Value& self, const Arguments& arguments) {
  return self.text()->bytes.empty() ? Value(true) : all<is_printable>(rendering, self, arguments);
}

Value isidentifier(Rendering&, const Value& self, const Arguments& arguments) {
  const Bound none("isidentifier", arguments, {});
  const Text& text = *self.text();
  if (!text.is_ascii()) fail("isidentifier() of other than ASCII is not supported");
  const auto part = [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
  };
  return !text.bytes.empty() && !(text.bytes[0] >= '0' && text.bytes[0] <= '9') &&
         std::all_of(text.bytes.begin(), text.bytes.end(), part);
}

template <bool Left, bool Right>
Value strip_ends(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("strip", arguments, {"/chars"});
  const std::string& bytes = self.text()->bytes;
  rendering.touch(bytes.size());
  if (!bound.has_some(0)) {
    return alike(rendering, self, std::string(strip(bytes, nullptr, Left, Right)));
  }
  const std::string_view chars = bound.text(0).bytes;
  rendering.step(1 + bytes.size() * chars.size() / 32);
  return alike(rendering, self, std::string(strip(bytes, &chars, Left, Right)));
}

/// The part of the text that the optional start and end (at `at` and after) leave.
struct Window {
  std::string_view part;
  std::size_t start = 0;  ///< in code points
  bool possible = true;   ///< false where it starts beyond the end
};

Window window(const Text& text, const Bound& bound, std::size_t at) {
  const auto size = static_cast<std::int64_t>(text.length);
  const auto place = [&](std::size_t which, std::int64_t otherwise) {
    const std::int64_t given = bound.has_some(which) ? bound.integer(which, 0) : otherwise;
    return given < 0 ? std::max<std::int64_t>(0, given + size) : given;
  };
  const std::int64_t start = place(at, 0);
  const std::int64_t end = std::min(place(at + 1, size), size);
  if (start > end) return {{}, 0, false};
  const std::size_t first = offset_of(text.bytes, static_cast<std::size_t>(start));
  const std::size_t last = offset_of(text.bytes, static_cast<std::size_t>(end));
  return {std::string_view(text.bytes).substr(first, last - first), static_cast<std::size_t>(start),
          true};
}

template <bool Start>
Value has_affix(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound(Start ? "startswith" : "endswith", arguments, {"/affix", "/start", "/end"}, 1);
  const Window in = window(*self.text(), bound, 1);
  rendering.touch(in.part.size());
  const auto matches = [&](const Value& affix) {
    if (affix.text() == nullptr) {
      fail("startswith and endswith take a str or a tuple of str, not " + type_name(affix));
    }
    const std::string& bytes = affix.text()->bytes;
    return in.possible && (Start ? in.part.starts_with(bytes) : in.part.ends_with(bytes));
  };
  if (const Sequence* choices = bound[0].tuple()) {
    rendering.step(choices->items.size());
    return std::any_of(choices->items.begin(), choices->items.end(), matches);
  }
  return matches(bound[0]);
}

/// Where the sub-text is, in code points; -1 where it is not.
template <bool FromEnd, bool MustBe>
Value find(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("find", arguments, {"/sub", "/start", "/end"}, 1);
  const Window in = window(*self.text(), bound, 1);
  const std::string& sub = bound.text(0).bytes;
  rendering.touch(self.text()->bytes.size());
  const std::size_t at = !in.possible ? in.part.npos
                         : FromEnd    ? in.part.rfind(sub)
                                      : in.part.find(sub);
  if (at != in.part.npos) {
    return static_cast<std::int64_t>(in.start + code_points(in.part.substr(0, at)));
  }
  if (MustBe) fail("substring not found");
  return std::int64_t{-1};
}

Value count(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("count", arguments, {"/sub", "/start", "/end"}, 1);
  const Window in = window(*self.text(), bound, 1);
  const std::string& sub = bound.text(0).bytes;
  rendering.touch(self.text()->bytes.size());
  if (!in.possible) return std::int64_t{0};
  if (sub.empty()) return static_cast<std::int64_t>(code_points(in.part)) + 1;
  std::int64_t found = 0;
  for (std::size_t at = in.part.find(sub); at != in.part.npos;
       at = in.part.find(sub, at + sub.size())) {
    ++found;
  }
  return found;
}

Value replace_method(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"/old", "/new", "/count"}, 2);
  const std::string by =
      self.text()->markup ? escaped_for_markup(rendering, bound[1]) : bound.text(1).bytes;
  return alike(
      rendering, self,
      replace(rendering, self.text()->bytes, bound.text(0).bytes, by, bound.integer(2, -1)));
}

template <bool Prefix>
Value remove_affix(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("removeprefix", arguments, {"/affix"}, 1);
  std::string_view bytes = self.text()->bytes;
  const std::string& affix = bound.text(0).bytes;
  if (Prefix && bytes.starts_with(affix)) bytes.remove_prefix(affix.size());
  if (!Prefix && bytes.ends_with(affix)) bytes.remove_suffix(affix.size());
  return alike(rendering, self, std::string(bytes));
}

Value join(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("join", arguments, {"/iterable"}, 1);
  const bool markup = self.text()->markup;
  std::string joined;
  std::size_t at = 0;
  const Next next = iterate(rendering, bound[0]);
  for (Value item; next(item); ++at) {
    if (at != 0) joined += self.text()->bytes;
    if (markup) {
      joined += escaped_for_markup(rendering, item);
    } else if (item.text() != nullptr) {
      joined += item.text()->bytes;
    } else {
      fail("sequence item " + std::to_string(at) + ": expected str instance, " + type_name(item) +
           " found");
    }
    rendering.touch(self.text()->bytes.size());
    rendering.check_size(joined.size());
  }
  return rendering.text(std::move(joined), markup);
}

template <bool FromEnd>
Value split(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("split", arguments, {"sep", "maxsplit"});
  const std::int64_t most = bound.integer(1, -1);
  const auto parts =
      bound.has_some(0)
          ? split_at(rendering, self.text()->bytes, bound.text(0).bytes, most, FromEnd)
          : split_at_space(rendering, self.text()->bytes, most, FromEnd);
  std::vector<Value> items;
  for (const std::string_view part : parts)
    items.push_back(alike(rendering, self, std::string(part)));
  return rendering.list(std::move(items));
}

Value splitlines(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("splitlines", arguments, {"keepends"});
  std::vector<Value> items;
  for (const std::string_view line :
       split_lines(rendering, self.text()->bytes, bound.truth(rendering, 0, false))) {
    items.push_back(alike(rendering, self, std::string(line)));
  }
  return rendering.list(std::move(items));
}

template <bool FromEnd>
Value partition(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("partition", arguments, {"/sep"}, 1);
  const std::string& bytes = self.text()->bytes;
  const std::string& separator = bound.text(0).bytes;
  if (separator.empty()) fail("empty separator");
  const std::size_t at = FromEnd ? bytes.rfind(separator) : bytes.find(separator);
  const auto part = [&](std::string text) { return alike(rendering, self, std::move(text)); };
  if (at == bytes.npos) {
    return FromEnd ? rendering.tuple({part(""), part(""), self})
                   : rendering.tuple({self, part(""), part("")});
  }
  return rendering.tuple(
      {part(bytes.substr(0, at)), part(separator), part(bytes.substr(at + separator.size()))});
}

/// Fills up to a width: on the left, on the right, or both.
template <bool Left, bool Right>
Value justify(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("justify", arguments, {"/width", "/fillchar"}, 1);
  const std::string fill = bound.has(1) ? bound.text(1).bytes : " ";
  if (code_points(fill) != 1) fail("The fill character must be exactly one character long");
  return alike(rendering, self,
               padded(rendering, *self.text(), bound.integer(0, 0), fill, Left, Right));
}

Value zfill(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("zfill", arguments, {"/width"}, 1);
  const std::string& bytes = self.text()->bytes;
  const std::int64_t missing = bound.integer(0, 0) - static_cast<std::int64_t>(self.text()->length);
  if (missing <= 0) return self;
  rendering.check_size(static_cast<std::uint64_t>(missing));
  const std::size_t sign = !bytes.empty() && (bytes[0] == '+' || bytes[0] == '-') ? 1 : 0;
  return alike(rendering, self,
               bytes.substr(0, sign) + std::string(static_cast<std::size_t>(missing), '0') +
                   bytes.substr(sign));
}

Value expandtabs(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("expandtabs", arguments, {"tabsize"});
  const std::int64_t size = bound.integer(0, 8);
  std::string expanded;
  std::size_t column = 0;
  for (const char c : self.text()->bytes) {
    if (c == '\t') {
      if (size <= 0) continue;
      const std::size_t fill =
          static_cast<std::size_t>(size) - column % static_cast<std::size_t>(size);
      rendering.check_size(expanded.size() + std::uint64_t{fill});
      expanded.append(fill, ' ');
      column += fill;
      continue;
    }
    expanded += c;
    if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) ++column;
    if (c == '\n' || c == '\r') column = 0;
  }
  return alike(rendering, self, std::move(expanded));
}

Value casefold(Rendering& rendering, const Value& self, const Arguments& arguments) {
  if (!self.text()->is_ascii()) fail("casefold() of other than ASCII is not supported");
  return change<lower>(rendering, self, arguments);
}

Value format(Rendering& rendering, const Value& self, const Arguments& arguments) {
  return str_format(rendering, self, arguments);
}

struct Named {
  std::string_view name;
  Method method;
};

constexpr auto kMethods = std::to_array<Named>({
    {"capitalize", change<capitalize>},
    {"casefold", casefold},
    {"center", justify<true, true>},
    {"count", count},
    {"endswith", has_affix<false>},
    {"expandtabs", expandtabs},
    {"find", find<false, false>},
    {"format", format},
    {"index", find<false, true>},
    {"isalnum", all<is_alnum>},
    {"isalpha", all<is_alpha>},
    {"isascii", isascii},
    {"isdecimal", all<is_decimal>},
    {"isdigit", all<is_digit>},
    {"isidentifier", isidentifier},
    {"islower", all_cased<is_lower, is_upper>},
    {"isnumeric", all<is_numeric_in_python>},
    {"isprintable", isprintable},
    {"isspace", all<is_space_in_python>},
    {"istitle", istitle},
    {"isupper", all_cased<is_upper, is_lower>},
    {"join", join},
    {"ljust", justify<false, true>},
    {"lower", change<lower>},
    {"lstrip", strip_ends<true, false>},
    {"partition", partition<false>},
    {"removeprefix", remove_affix<true>},
    {"removesuffix", remove_affix<false>},
    {"replace", replace_method},
    {"rfind", find<true, false>},
    {"rindex", find<true, true>},
    {"rjust", justify<true, false>},
    {"rpartition", partition<true>},
    {"rsplit", split<true>},
    {"rstrip", strip_ends<false, true>},
    {"split", split<false>},
    {"splitlines", splitlines},
    {"startswith", has_affix<true>},
    {"strip", strip_ends<true, true>},
    {"swapcase", change<swapcase>},
    {"title", change<title>},
    {"upper", change<upper>},
    {"zfill", zfill},
});

}  // namespace

Method text_method(std::string_view name) {
  const auto* found = std::lower_bound(
      kMethods.begin(), kMethods.end(), name,
      [](const Named& entry, std::string_view wanted) { return entry.name < wanted; });
  return found != kMethods.end() && found->name == name ? found->method : nullptr;
}

}  // namespace spd::jinja
