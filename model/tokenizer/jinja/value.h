// Values of a template: Python's, as far as templates need them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace spd::jinja {

class Rendering;
class Value;
struct Arguments;
struct BigInteger;  // integer.h

/// A variable that nothing was assigned to yet.
struct Missing {};
/// Jinja's Undefined: prints nothing, and fails with this message when anything else is asked of
/// it.
struct Undefined {
  std::string message;
};
struct None {};

/// A string. Immutable; UTF-8 that is always valid.
struct Text {
  std::string bytes;
  std::size_t length = 0;  ///< in code points
  bool markup = false;     ///< escaped already (`|safe`, `|e`): what joins it is escaped
  bool is_ascii() const { return length == bytes.size(); }
};

struct Sequence;
struct Dict;
class Object;

/// Whether T is one of a variant's types. (Asking whether the variant can be made of it asks the
/// same of Value before Value is complete.)
template <class T, class Variant>
struct IsOneOf;
template <class T, class... Held>
struct IsOneOf<T, std::variant<Held...>> : std::bool_constant<(std::is_same_v<T, Held> || ...)> {};

/// One value. Copies are cheap: whatever is large is shared and never changes.
class Value {
 public:
  using Data = std::variant<Missing, std::shared_ptr<const Undefined>, None, bool, std::int64_t,
                            std::shared_ptr<const BigInteger>, double, std::shared_ptr<const Text>,
                            std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
                            std::shared_ptr<Object>>;

  Value() = default;
  template <class T>
  requires IsOneOf<T, Data>::value Value(T data) : data_(std::in_place_type<T>, std::move(data)) {}

  bool is_missing() const { return std::holds_alternative<Missing>(data_); }
  const Undefined* undefined() const { return shared<Undefined>(); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const std::int64_t* small() const { return std::get_if<std::int64_t>(&data_); }
  const BigInteger* big() const { return shared<BigInteger>(); }
  const double* real() const { return std::get_if<double>(&data_); }
  const Text* text() const { return shared<Text>(); }
  const Sequence* sequence() const { return shared<Sequence>(); }
  const Dict* dict() const { return shared<Dict>(); }
  Object* object() const {
    const auto* held = std::get_if<std::shared_ptr<Object>>(&data_);
    return held == nullptr ? nullptr : held->get();
  }
  /// The object as T, or nullptr where it is none.
  template <class T>
  T* as() const {
    return dynamic_cast<T*>(object());
  }
  template <class T>
  std::shared_ptr<T> share() const {
    const auto* held = std::get_if<std::shared_ptr<T>>(&data_);
    return held == nullptr ? nullptr : *held;
  }

  const Sequence* list() const;
  const Sequence* tuple() const;
  /// Integer or boolean (which is one in Python) that fits.
  std::optional<std::int64_t> integer() const;
  bool is_integer() const { return boolean() || small() || big(); }
  bool is_number() const { return is_integer() || real(); }
  /// The very same object, as Python's `is`.
  bool is_same(const Value& other) const;

 private:
  template <class T>
  const T* shared() const {
    const auto* held = std::get_if<std::shared_ptr<const T>>(&data_);
    return held == nullptr ? nullptr : held->get();
  }
  Data data_;
};

/// A list or a tuple.
struct Sequence {
  enum class Kind { list, tuple, group };  ///< group: groupby's tuple with names
  std::vector<Value> items;
  Kind kind = Kind::list;
  unsigned depth = 1;  ///< containers within containers
};

/// A dict; keeps the order of insertion.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  unsigned depth = 1;

  /// nullptr where there is no such key. Fails where the key cannot be hashed.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);

 private:
  std::optional<std::size_t> position(const Value& key, std::size_t hash) const;
  std::unordered_multimap<std::size_t, std::size_t> index_;
};

/// Gives the next item; false at the end.
using Next = std::function<bool(Value&)>;

/// Whatever else there is: ranges, iterators, functions, namespaces, loops.
class Object : public std::enable_shared_from_this<Object> {
 public:
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;

  virtual std::string type_name() const = 0;
  /// As Python prints it. By default refused: it would print an address.
  virtual std::string repr(Rendering& rendering) const;
  virtual bool is_callable() const { return false; }
  virtual Value call(Rendering& rendering, Arguments& arguments);
  /// nullopt where there is no such attribute.
  virtual std::optional<Value> attribute(Rendering& rendering, const std::string& name);
  /// What `object[key]` is; nullopt where Python raises a TypeError or LookupError.
  virtual std::optional<Value> item(Rendering&, const Value&) { return std::nullopt; }
  /// An empty function where the object cannot be iterated over.
  virtual Next iterate(Rendering&) { return {}; }
  virtual std::optional<std::size_t> length(Rendering&) const { return std::nullopt; }
  virtual unsigned depth() const { return 1; }
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

Value undefined(std::string message);
/// A list's or dict's nesting; 0 for what holds nothing.
unsigned depth_of(const Value& value);
/// Python's name of the value's type.
std::string type_name(const Value& value);
/// How Jinja names the value in a message of an undefined attribute: "dict object".
std::string described(const Value& value);

}  // namespace spd::jinja
