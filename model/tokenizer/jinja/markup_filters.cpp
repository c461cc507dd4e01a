// Filters that escape, and that write other languages: HTML, JSON.
#include <array>

#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/filters.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/printing.h"
#include "model/tokenizer/jinja/splitting.h"

namespace spd::jinja {
namespace {

Value escape(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("escape", arguments, {});
  return rendering.text(escaped_for_markup(rendering, subject), true);
}

Value force_escape(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("forceescape", arguments, {});
  return rendering.text(escape_html(to_str(rendering, subject)), true);
}

Value safe(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("safe", arguments, {});
  return rendering.text(to_str(rendering, subject), true);
}

/// Without tags and comments.
std::string without_tags(std::string_view text) {
  std::string kept;
  std::size_t from = 0;
  for (std::size_t start = text.find('<'); start != text.npos; start = text.find('<', from)) {
    const bool comment = text.substr(start).starts_with("<!--");
    const std::size_t end = comment ? text.find("-->", start + 4) : text.find('>', start);
    if (end == text.npos) break;
    kept += text.substr(from, start - from);
    from = end + (comment ? 3 : 1);
  }
  return kept.append(text.substr(from));
}

Value strip_tags(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("striptags", arguments, {});
  const std::string plain = without_tags(to_str(rendering, subject));
  std::string joined;
  for (const std::string_view word : split_at_space(rendering, plain, -1, false)) {
    if (!joined.empty()) joined += ' ';
    joined += word;
  }
  if (joined.find('&') != joined.npos) fail("striptags of HTML's character names is not supported");
  return rendering.text(std::move(joined));
}

Value xml_attributes(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("xmlattr", arguments, {"autospace"});
  if (subject.undefined() != nullptr) fail(subject.undefined()->message);
  if (subject.dict() == nullptr) fail("xmlattr of a '" + type_name(subject) + "'");
  std::string attributes;
  for (const auto& [key, value] : subject.dict()->items) {
    if (value.is_none() || value.undefined() != nullptr) continue;
    if (key.text() == nullptr) fail("expected string or bytes-like object");
    constexpr std::string_view kForbidden = " \t\n\r\f\v/>=";
    if (key.text()->bytes.find_first_of(kForbidden) != std::string::npos) {
      fail("Invalid character in attribute name: " + python_quoted(key.text()->bytes));
    }
    if (!attributes.empty()) attributes += ' ';
    attributes +=
        escaped_for_markup(rendering, key) + "=\"" + escaped_for_markup(rendering, value) + "\"";
    rendering.check_size(attributes.size());
  }
  const bool spaced = bound.truth(rendering, 0, true) && !attributes.empty();
  return rendering.text(spaced ? " " + attributes : attributes);
}

void read_separators(Rendering& rendering, const Value& value, JsonStyle& style) {
  const std::vector<Value> pair = items_of(rendering, value);
  if (pair.size() != 2 || pair[0].text() == nullptr || pair[1].text() == nullptr) {
    fail("tojson takes its separators as two strings");
  }
  style.item_separator = pair[0].text()->bytes;
  style.key_separator = pair[1].text()->bytes;
}

/// transformers' tojson, not Jinja's: json.dumps, nothing escaped for HTML.
Value to_json_filter(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii_only = bound.truth(rendering, 0, false);
  style.sort_keys = bound.truth(rendering, 3, false);
  if (bound.has_some(1)) {
    style.item_separator = ",";
    if (bound[1].text() != nullptr) {
      style.indent = bound[1].text()->bytes;
    } else {
      const std::int64_t width = std::max<std::int64_t>(0, bound.integer(1, 0));
      rendering.check_size(static_cast<std::uint64_t>(width));
      style.indent = std::string(static_cast<std::size_t>(width), ' ');
    }
  }
  if (bound.has_some(2)) read_separators(rendering, bound[2], style);
  return rendering.text(to_json(rendering, subject, style));
}

constexpr auto kFilters = std::to_array<NamedFilter>({
    {"e", escape},
    {"escape", escape},
    {"forceescape", force_escape},
    {"safe", safe},
    {"striptags", strip_tags},
    {"xmlattr", xml_attributes},
    {"tojson", to_json_filter},
});

}  // namespace

std::span<const NamedFilter> markup_filters() { return kFilters; }

}  // namespace spd::jinja
