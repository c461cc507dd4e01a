// Filters that make text of text.
#include <algorithm>
#include <array>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/filters.h"
#include "model/tokenizer/jinja/formatting.h"
#include "model/tokenizer/jinja/methods.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/printing.h"
#include "model/tokenizer/jinja/splitting.h"

namespace spd::jinja {
namespace {

/// Jinja's soft_str: strings stay what they are, all else is printed.
Value soft_text(Rendering& rendering, const Value& value) {
  return value.text() != nullptr ? value : rendering.text(to_str(rendering, value));
}

/// The method of the same name.
Value by_method(Rendering& rendering, const Value& subject, const char* method,
                const Arguments& arguments) {
  return text_method(method)(rendering, soft_text(rendering, subject), arguments);
}

Value upper_filter(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  return by_method(rendering, subject, "upper", arguments);
}

Value lower_filter(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  return by_method(rendering, subject, "lower", arguments);
}

Value capitalize_filter(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  return by_method(rendering, subject, "capitalize", arguments);
}

Value trim(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("trim", arguments, {"chars"});
  return by_method(rendering, subject, "strip", {{bound.get(0, None{})}, {}});
}

Value center(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("center", arguments, {"width"});
  return by_method(rendering, subject, "center", {{bound.get(0, std::int64_t{80})}, {}});
}

bool starts_word(char32_t c) {
  return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space_in_python(c);
}

/// Runs of separators and of anything else: of each the first character is raised, the rest
/// lowered.
Value title_filter(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("title", arguments, {});
  const Value soft = soft_text(rendering, subject);
  const std::string_view bytes = soft.text()->bytes;
  rendering.step(bytes.size());
  std::string titled;
  for (std::size_t at = 0; at < bytes.size();) {
    const bool separator = starts_word(code_point_at(bytes, at).value);
    const std::size_t first = code_point_at(bytes, at).bytes;
    std::size_t end = at + first;
    while (end < bytes.size() && starts_word(code_point_at(bytes, end).value) == separator) {
      end += code_point_at(bytes, end).bytes;
    }
    titled += upper(bytes.substr(at, first)) + lower(bytes.substr(at + first, end - at - first));
    at = end;
  }
  return rendering.text(std::move(titled));
}

Value replace_filter(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"}, 2);
  const std::int64_t most = bound.has_some(2) ? bound.integer(2, -1) : -1;
  return rendering.text(replace(rendering, to_str(rendering, subject), to_str(rendering, bound[0]),
                                to_str(rendering, bound[1]), most));
}

Value string(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("string", arguments, {});
  return soft_text(rendering, subject);
}

Value format(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    fail("can't handle positional and keyword arguments at the same time");
  }
  const Value text = soft_text(rendering, subject);
  if (arguments.named.empty()) {
    return percent_format(rendering, text, rendering.tuple(arguments.positional));
  }
  Dict named;
  for (const auto& [name, value] : arguments.named) named.set(rendering.text(name), value);
  return percent_format(rendering, text, rendering.dict(std::move(named)));
}

Value indent(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("indent", arguments, {"width", "first", "blank"});
  if (subject.undefined() != nullptr) fail(subject.undefined()->message);
  if (subject.text() == nullptr) fail("indent of a '" + type_name(subject) + "'");
  std::string indention;
  if (bound.has(0) && bound[0].text() != nullptr) {
    indention = bound[0].text()->bytes;
  } else {
    const std::int64_t width = std::max<std::int64_t>(0, bound.integer(0, 4));
    rendering.check_size(static_cast<std::uint64_t>(width));
    indention = std::string(static_cast<std::size_t>(width), ' ');
  }
  const bool blank = bound.truth(rendering, 2, false);
  const std::string text = subject.text()->bytes + "\n";
  std::string indented = bound.truth(rendering, 1, false) ? indention : "";
  bool first = true;
  for (const std::string_view line : split_lines(rendering, text, false)) {
    if (!first) indented += "\n";
    if (!first && (blank || !line.empty())) indented += indention;
    indented += line;
    first = false;
    rendering.touch(indention.size());
    rendering.check_size(indented.size());
  }
  return rendering.text(std::move(indented), subject.text()->markup);
}

Value truncate(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("truncate", arguments, {"length", "killwords", "end", "leeway"});
  const std::int64_t length = bound.integer(0, 255);
  const Value end = bound.get(2, rendering.text("..."));
  const std::int64_t leeway = bound.has_some(3) ? bound.integer(3, 5) : 5;
  if (end.text() == nullptr) fail("truncate takes its end as text");
  const auto end_length = static_cast<std::int64_t>(end.text()->length);
  if (length < end_length || leeway < 0) fail("truncate to less than the end that it adds");
  const auto size = length_of(rendering, subject);
  if (!size) fail("object of type '" + type_name(subject) + "' has no len()");
  if (static_cast<std::int64_t>(*size) <= length + leeway) return subject;
  if (subject.text() == nullptr || subject.text()->markup || end.text()->markup) {
    fail("truncate of a '" + type_name(subject) + "' is not supported");
  }
  const std::string& bytes = subject.text()->bytes;
  std::string kept =
      bytes.substr(0, offset_of(bytes, static_cast<std::size_t>(length - end_length)));
  if (!bound.truth(rendering, 1, false)) kept = kept.substr(0, kept.rfind(' '));
  return rendering.text(kept + end.text()->bytes);
}

Value word_count(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("wordcount", arguments, {});
  const Value text = soft_text(rendering, subject);
  const std::string& bytes = text.text()->bytes;
  rendering.step(bytes.size());
  std::int64_t words = 0;
  bool inside = false;
  for (std::size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    const bool word = c.value == '_' || is_alnum(c.value);
    if (word && !inside) ++words;
    inside = word;
    at += c.bytes;
  }
  return words;
}

std::string url_quoted(std::string_view text, bool in_query) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string quoted;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= '0' && byte <= '9') ||
                       (byte < 0x80 && (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
                       std::string_view("_.-~").find(c) != std::string_view::npos;
    if (plain || (c == '/' && !in_query)) {
      quoted += c;
    } else if (c == ' ' && in_query) {
      quoted += '+';
    } else {
      quoted += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return quoted;
}

Value url_encode(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("urlencode", arguments, {});
  const bool is_pairs = subject.text() == nullptr && try_iterate(rendering, subject);
  if (!is_pairs) return rendering.text(url_quoted(to_str(rendering, subject), false));
  std::string query;
  const auto add = [&](const Value& key, const Value& value) {
    if (!query.empty()) query += '&';
    query +=
        url_quoted(to_str(rendering, key), true) + "=" + url_quoted(to_str(rendering, value), true);
    rendering.check_size(query.size());
  };
  if (const Dict* dict = subject.dict()) {
    for (const auto& [key, value] : dict->items) add(key, value);
  } else {
    for (const Value& item : items_of(rendering, subject)) {
      const std::vector<Value> pair = items_of(rendering, item);
      if (pair.size() != 2) fail("urlencode takes pairs");
      add(pair[0], pair[1]);
    }
  }
  return rendering.text(std::move(query));
}

constexpr auto kFilters = std::to_array<NamedFilter>({
    {"upper", upper_filter},
    {"lower", lower_filter},
    {"capitalize", capitalize_filter},
    {"title", title_filter},
    {"trim", trim},
    {"center", center},
    {"replace", replace_filter},
    {"string", string},
    {"format", format},
    {"indent", indent},
    {"truncate", truncate},
    {"wordcount", word_count},
    {"urlencode", url_encode},
});

}  // namespace

std::span<const NamedFilter> text_filters() { return kFilters; }

}  // namespace spd::jinja
