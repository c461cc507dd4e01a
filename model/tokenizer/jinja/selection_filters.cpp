// Filters that choose or change the items of a sequence, one by one and only when they are asked
// for.
#include <algorithm>
#include <array>

#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/attribute_path.h"
#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/filters.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/tests.h"

namespace spd::jinja {
namespace {

using Change = std::function<Value(Rendering&, const Value&)>;
using Choose = std::function<bool(Rendering&, const Value&)>;

unsigned deepest(const Value& subject, const Arguments& arguments) {
  unsigned depth = depth_of(subject);
  for (const Value& value : arguments.positional) depth = std::max(depth, depth_of(value));
  for (const auto& [name, value] : arguments.named) depth = std::max(depth, depth_of(value));
  return depth + 1;
}

const Value* named(const Arguments& arguments, std::string_view name) {
  for (const auto& [given, value] : arguments.named) {
    if (given == name) return &value;
  }
  return nullptr;
}

const std::string& name_of(const Value& value, const char* what) {
  if (value.text() == nullptr) fail(std::string("the name of a ") + what + " must be a string");
  return value.text()->bytes;
}

Change prepare_map(Rendering& rendering, const Arguments& arguments) {
  if (const Value* attribute = named(arguments, "attribute");
      attribute != nullptr && arguments.positional.empty()) {
    for (const auto& [name, value] : arguments.named) {
      if (name != "attribute" && name != "default")
        fail("Unexpected keyword argument '" + name + "'");
    }
    const Value* given = named(arguments, "default");
    const auto otherwise = given == nullptr ? std::nullopt : std::optional<Value>(*given);
    return [path = AttributePath(rendering, *attribute), otherwise](
               Rendering& running, const Value& item) { return path(running, item, otherwise); };
  }
  if (arguments.positional.empty()) fail("map requires a filter argument");
  const std::string name = name_of(arguments.positional[0], "filter");
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin());
  return [name, rest](Rendering& running, const Value& item) {
    return apply_filter(running, name, item, rest);
  };
}

Value map(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  return rendering.iterator(
      "generator",
      [&rendering, subject, arguments, change = Change(), next = Next()](Value& item) mutable {
        if (!change) {
          if (!is_true(rendering, subject)) return false;
          change = prepare_map(rendering, arguments);
          next = iterate(rendering, subject);
        }
        Value held;
        if (!next(held)) return false;
        item = change(rendering, held);
        return true;
      },
      deepest(subject, arguments));
}

Choose prepare_choice(Rendering& rendering, const Arguments& arguments, bool by_attribute,
                      bool wanted) {
  const std::size_t test_at = by_attribute ? 1 : 0;
  AttributePath path;
  if (by_attribute) {
    if (arguments.positional.empty()) fail("Missing parameter for attribute name");
    path = AttributePath(rendering, arguments.positional[0]);
  }
  if (arguments.positional.size() <= test_at) {
    return [path, wanted](Rendering& running, const Value& item) {
      return is_true(running, path(running, item)) == wanted;
    };
  }
  const std::string name = name_of(arguments.positional[test_at], "test");
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<std::ptrdiff_t>(test_at) + 1);
  return [path, name, rest, wanted](Rendering& running, const Value& item) {
    return apply_test(running, name, path(running, item), rest) == wanted;
  };
}

template <bool ByAttribute, bool Wanted>
Value choose(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  return rendering.iterator(
      "generator",
      [&rendering, subject, arguments, choice = Choose(), next = Next()](Value& item) mutable {
        if (!choice) {
          if (!is_true(rendering, subject)) return false;
          choice = prepare_choice(rendering, arguments, ByAttribute, Wanted);
          next = iterate(rendering, subject);
        }
        for (Value held; next(held);) {
          rendering.step();
          if (!choice(rendering, held)) continue;
          item = std::move(held);
          return true;
        }
        return false;
      },
      deepest(subject, arguments));
}

constexpr auto kFilters = std::to_array<NamedFilter>({
    {"map", map},
    {"select", choose<false, true>},
    {"reject", choose<false, false>},
    {"selectattr", choose<true, true>},
    {"rejectattr", choose<true, false>},
});

}  // namespace

std::span<const NamedFilter> selection_filters() { return kFilters; }

}  // namespace spd::jinja
