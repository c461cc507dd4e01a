#include "model/tokenizer/jinja/value.h"

#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/failure.h"

namespace spd::jinja {

const Sequence* Value::list() const {
  const Sequence* held = sequence();
  return held != nullptr && held->kind == Sequence::Kind::list ? held : nullptr;
}

const Sequence* Value::tuple() const {
  const Sequence* held = sequence();
  return held != nullptr && held->kind != Sequence::Kind::list ? held : nullptr;
}

std::optional<std::int64_t> Value::integer() const {
  if (const bool* held = boolean()) return *held ? 1 : 0;
  if (const std::int64_t* held = small()) return *held;
  return std::nullopt;
}

bool Value::is_same(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (is_none() || is_missing()) return true;
  if (boolean() != nullptr) return *boolean() == *other.boolean();
  if (text() != nullptr) return text() == other.text();
  if (sequence() != nullptr) return sequence() == other.sequence();
  if (dict() != nullptr) return dict() == other.dict();
  if (object() != nullptr) return object() == other.object();
  if (undefined() != nullptr) return undefined() == other.undefined();
  // CPython keeps one object for each of these, and makes all others anew.
  if (small() != nullptr) return *small() == *other.small() && *small() >= -5 && *small() <= 256;
  return false;
}

std::optional<std::size_t> Dict::position(const Value& key, std::size_t hash) const {
  const auto [first, last] = index_.equal_range(hash);
  for (auto entry = first; entry != last; ++entry) {
    if (equal(items[entry->second].first, key)) return entry->second;
  }
  return std::nullopt;
}

const Value* Dict::find(const Value& key) const {
  const auto at = position(key, hash_of(key));
  return at ? &items[*at].second : nullptr;
}

const Value* Dict::find(std::string_view key) const {
  const auto [first, last] = index_.equal_range(hash_of(key));
  for (auto entry = first; entry != last; ++entry) {
    const Text* text = items[entry->second].first.text();
    if (text != nullptr && text->bytes == key) return &items[entry->second].second;
  }
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  const std::size_t hash = hash_of(key);
  if (const auto at = position(key, hash)) {
    items[*at].second = std::move(value);
    return;
  }
  index_.emplace(hash, items.size());
  items.emplace_back(key, std::move(value));
}

std::string Object::repr(Rendering&) const {
  fail("printing a " + type_name() + " is not supported: it shows an address");
}

Value Object::call(Rendering&, Arguments&) { fail("'" + type_name() + "' object is not callable"); }

std::optional<Value> Object::attribute(Rendering&, const std::string&) { return std::nullopt; }

Value undefined(std::string message) {
  return std::make_shared<const Undefined>(Undefined{std::move(message)});
}

unsigned depth_of(const Value& value) {
  if (const Sequence* sequence = value.sequence()) return sequence->depth;
  if (const Dict* dict = value.dict()) return dict->depth;
  if (const Object* object = value.object()) return object->depth();
  return 0;
}

std::string type_name(const Value& value) {
  if (value.undefined() || value.is_missing()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.boolean()) return "bool";
  if (value.is_integer()) return "int";
  if (value.real()) return "float";
  if (value.text()) return value.text()->markup ? "Markup" : "str";
  if (const Sequence* sequence = value.sequence()) {
    if (sequence->kind == Sequence::Kind::group) return "_GroupTuple";
    return sequence->kind == Sequence::Kind::list ? "list" : "tuple";
  }
  if (value.dict()) return "dict";
  return value.object()->type_name();
}

std::string described(const Value& value) {
  return value.is_none() ? "None" : type_name(value) + " object";
}

}  // namespace spd::jinja
