// Methods of list, tuple and dict, and which others Python has.
#include <algorithm>
#include <array>

#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/methods.h"
#include "model/tokenizer/jinja/objects.h"
#include "model/tokenizer/jinja/printing.h"

namespace spd::jinja {
namespace {

Value count(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("count", arguments, {"/value"}, 1);
  const auto& items = self.sequence()->items;
  rendering.step(items.size());
  return static_cast<std::int64_t>(std::count_if(
      items.begin(), items.end(),
      [&](const Value& item) { return item.is_same(bound[0]) || equal(item, bound[0]); }));
}

Value index(Rendering& rendering, const Value& self, const Arguments& arguments) {
  const Bound bound("index", arguments, {"/value", "/start", "/stop"}, 1);
  const auto& items = self.sequence()->items;
  const auto size = static_cast<std::int64_t>(items.size());
  const auto place = [&](std::size_t at, std::int64_t otherwise) {
    const std::int64_t given = bound.integer(at, otherwise);
    return std::clamp<std::int64_t>(given < 0 ? given + size : given, 0, size);
  };
  rendering.step(items.size());
  const std::int64_t stop = place(2, size);
  for (std::int64_t at = place(1, 0); at < stop; ++at) {
    const Value& item = items[static_cast<std::size_t>(at)];
    if (item.is_same(bound[0]) || equal(item, bound[0])) return at;
  }
  fail(to_repr(rendering, bound[0]) + " is not in " + (self.list() ? "list" : "tuple"));
}

Value copy(Rendering&, const Value& self, const Arguments& arguments) {
  const Bound none("copy", arguments, {});
  return self;
}

template <View::Part Part>
Value view(Rendering&, const Value& self, const Arguments& arguments) {
  const Bound none("dict method", arguments, {});
  return std::shared_ptr<Object>(std::make_shared<View>(self.share<const Dict>(), Part));
}

Value get(Rendering&, const Value& self, const Arguments& arguments) {
  const Bound bound("get", arguments, {"/key", "/default"}, 1);
  const Value* value = self.dict()->find(bound[0]);
  return value == nullptr ? bound.get(1, None{}) : *value;
}

template <std::size_t N>
bool among(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

constexpr std::array<std::string_view, 8> kChangeLists{"append", "clear",  "extend",  "insert",
                                                       "pop",    "remove", "reverse", "sort"};
constexpr std::array<std::string_view, 5> kChangeDicts{"clear", "pop", "popitem", "setdefault",
                                                       "update"};
constexpr std::array<std::string_view, 4> kOtherTexts{"encode", "format_map", "maketrans",
                                                      "translate"};
constexpr std::array<std::string_view, 2> kOtherMarkups{"unescape", "striptags"};
constexpr std::array<std::string_view, 9> kIntegers{
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator",
    "from_bytes",       "imag",      "numerator",  "real"};
constexpr std::array<std::string_view, 7> kReals{
    "as_integer_ratio", "conjugate", "fromhex", "hex", "imag", "real", "is_integer"};

}  // namespace

Method sequence_method(std::string_view name) {
  if (name == "count") return count;
  return name == "index" ? index : nullptr;
}

Method dict_method(std::string_view name) {
  if (name == "items") return view<View::Part::items>;
  if (name == "keys") return view<View::Part::keys>;
  if (name == "values") return view<View::Part::values>;
  if (name == "get") return get;
  return name == "copy" ? copy : nullptr;
}

Foreign foreign_attribute(const Value& value, std::string_view name) {
  const auto unsupported = [](bool there) { return there ? Foreign::unsupported : Foreign::none; };
  if (value.list() != nullptr) {
    return among(kChangeLists, name) ? Foreign::changes : unsupported(name == "copy");
  }
  if (value.dict() != nullptr) {
    return among(kChangeDicts, name) ? Foreign::changes : unsupported(name == "fromkeys");
  }
  if (const Text* text = value.text()) {
    return unsupported(among(kOtherTexts, name) ||
                       (text->markup && (among(kOtherMarkups, name) || name == "escape")));
  }
  if (value.is_integer()) return unsupported(among(kIntegers, name) || name == "to_bytes");
  return unsupported(value.real() != nullptr && among(kReals, name));
}

}  // namespace spd::jinja
