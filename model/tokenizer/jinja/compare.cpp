#include "model/tokenizer/jinja/compare.h"

#include <cmath>
#include <functional>

#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/objects.h"
#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {
namespace {

/// The order of two numbers; nullopt with a NaN.
std::optional<int> compare_numbers(const Value& left, const Value& right) {
  const double* a = left.real();
  const double* b = right.real();
  if (a == nullptr && b == nullptr) return compare_integers(left, right);
  if (a == nullptr) return compare_integer_and_real(left, *b);
  if (b == nullptr) {
    const auto order = compare_integer_and_real(right, *a);
    return order ? std::optional<int>(-*order) : std::nullopt;
  }
  if (std::isnan(*a) || std::isnan(*b)) return std::nullopt;
  return *a < *b ? -1 : *a > *b ? 1 : 0;
}

bool equal_items(const std::vector<Value>& left, const std::vector<Value>& right) {
  if (left.size() != right.size()) return false;
  for (std::size_t at = 0; at < left.size(); ++at) {
    if (!left[at].is_same(right[at]) && !equal(left[at], right[at])) return false;
  }
  return true;
}

bool equal_dicts(const Dict& left, const Dict& right) {
  if (left.items.size() != right.items.size()) return false;
  for (const auto& [key, value] : left.items) {
    const Value* other = right.find(key);
    if (other == nullptr || !(value.is_same(*other) || equal(value, *other))) return false;
  }
  return true;
}

bool equal_objects(const Value& left, const Value& right) {
  if (left.object() == right.object()) return true;
  const auto* range = left.as<Range>();
  const auto* other = right.as<Range>();
  if (range != nullptr && other != nullptr) return range->equals(*other);
  const auto* view = left.as<View>();
  const auto* other_view = right.as<View>();
  if (view != nullptr && other_view != nullptr && view->part() != View::Part::values &&
      other_view->part() != View::Part::values) {
    fail("comparing the keys or items of dicts is not supported");
  }
  return false;
}

bool same_sequences(const Value& left, const Value& right) {
  return (left.list() != nullptr && right.list() != nullptr) ||
         (left.tuple() != nullptr && right.tuple() != nullptr);
}

[[noreturn]] void no_order(const Value& left, const Value& right, const char* sign) {
  for (const Value* side : {&left, &right}) {
    if (side->undefined() != nullptr) fail(side->undefined()->message);
  }
  fail(std::string("'") + sign + "' not supported between instances of '" + type_name(left) +
       "' and '" + type_name(right) + "'");
}

/// The order of what has one, with `unequal` deciding on the first items that differ.
bool ordered(const Value& left, const Value& right, const char* sign, bool or_equal) {
  if (left.is_number() && right.is_number()) {
    const auto order = compare_numbers(left, right);
    return order && (*order < 0 || (or_equal && *order == 0));
  }
  if (left.text() != nullptr && right.text() != nullptr) {
    // UTF-8 sorts as its code points do.
    const int order = left.text()->bytes.compare(right.text()->bytes);
    return order < 0 || (or_equal && order == 0);
  }
  if (!same_sequences(left, right)) no_order(left, right, sign);
  const auto& a = left.sequence()->items;
  const auto& b = right.sequence()->items;
  for (std::size_t at = 0; at < a.size() && at < b.size(); ++at) {
    if (!a[at].is_same(b[at]) && !equal(a[at], b[at])) return ordered(a[at], b[at], sign, or_equal);
  }
  return a.size() < b.size() || (or_equal && a.size() == b.size());
}

}  // namespace

bool is_true(Rendering& rendering, const Value& value) {
  if (value.is_missing() || value.undefined() != nullptr || value.is_none()) return false;
  if (const auto integer = value.integer()) return *integer != 0;
  if (value.big() != nullptr) return true;
  if (const double* real = value.real()) return *real != 0;
  if (const Text* text = value.text()) return !text->bytes.empty();
  if (const Sequence* sequence = value.sequence()) return !sequence->items.empty();
  if (const Dict* dict = value.dict()) return !dict->items.empty();
  const auto length = value.object()->length(rendering);
  return !length || *length != 0;
}

bool equal(const Value& left, const Value& right) {
  if (left.is_number() && right.is_number()) {
    const auto order = compare_numbers(left, right);
    return order && *order == 0;
  }
  if (left.text() != nullptr && right.text() != nullptr) {
    return left.text()->bytes == right.text()->bytes;
  }
  if (same_sequences(left, right)) {
    return equal_items(left.sequence()->items, right.sequence()->items);
  }
  if (left.dict() != nullptr && right.dict() != nullptr) {
    return equal_dicts(*left.dict(), *right.dict());
  }
  if (left.object() != nullptr && right.object() != nullptr) return equal_objects(left, right);
  return (left.undefined() != nullptr && right.undefined() != nullptr) ||
         (left.is_none() && right.is_none());
}

bool less(const Value& left, const Value& right, const char* sign) {
  return ordered(left, right, sign, false);
}

bool less_or_equal(const Value& left, const Value& right, const char* sign) {
  return ordered(left, right, sign, true);
}

bool contains(Rendering& rendering, const Value& container, const Value& item) {
  if (const Text* text = container.text()) {
    if (item.text() == nullptr) {
      fail("'in <string>' requires string as left operand, not " + type_name(item));
    }
    rendering.touch(text->bytes.size());
    return text->bytes.find(item.text()->bytes) != std::string::npos;
  }
  if (const Dict* dict = container.dict()) return dict->find(item) != nullptr;
  if (const Sequence* sequence = container.sequence()) {
    rendering.step(sequence->items.size());
    for (const Value& held : sequence->items) {
      if (held.is_same(item) || equal(held, item)) return true;
    }
    return false;
  }
  if (container.undefined() != nullptr) return false;
  if (const auto* view = container.as<View>(); view && view->part() == View::Part::keys) {
    return view->dict().find(item) != nullptr;
  }
  Object* object = container.object();
  Next next = object == nullptr ? Next() : object->iterate(rendering);
  if (!next) fail("argument of type '" + type_name(container) + "' is not iterable");
  for (Value held; next(held);) {
    rendering.step();
    if (held.is_same(item) || equal(held, item)) return true;
  }
  return false;
}

std::size_t hash_of(std::string_view text) { return std::hash<std::string_view>()(text); }

std::size_t hash_of(const Value& value) {
  if (const Text* text = value.text()) return hash_of(text->bytes);
  if (const auto integer = value.integer()) return std::hash<std::int64_t>()(*integer);
  if (const double* real = value.real()) {
    const bool whole = std::floor(*real) == *real && std::fabs(*real) < 0x1p63;
    return whole ? std::hash<std::int64_t>()(static_cast<std::int64_t>(*real))
                 : std::hash<double>()(*real);
  }
  if (const BigInteger* big = value.big())
    return std::hash<double>()(static_cast<double>(big->number));
  if (const Sequence* tuple = value.tuple()) {
    std::size_t hash = 0x9e3779b9;
    for (const Value& item : tuple->items) hash = hash * 1'000'003 ^ hash_of(item);
    return hash;
  }
  if (value.list() != nullptr || value.dict() != nullptr || value.as<View>() != nullptr) {
    fail("unhashable type: '" + type_name(value) + "'");
  }
  return value.object() == nullptr ? 1 : std::hash<const void*>()(value.object());
}

}  // namespace spd::jinja
