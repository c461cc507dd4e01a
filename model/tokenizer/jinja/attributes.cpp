#include "model/tokenizer/jinja/attributes.h"

#include <algorithm>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/methods.h"
#include "model/tokenizer/jinja/objects.h"
#include "model/tokenizer/jinja/printing.h"

namespace spd::jinja {
namespace {

Method method_of(const Value& value, const std::string& name) {
  if (value.text() != nullptr) return text_method(name);
  if (value.sequence() != nullptr) return sequence_method(name);
  return value.dict() != nullptr ? dict_method(name) : nullptr;
}

bool is_internal(const std::string& name) {
  return name.size() > 4 && name.starts_with("__") && name.ends_with("__");
}

Value unsafe(const Value& object, const std::string& name) {
  return undefined("access to attribute '" + name + "' of '" + type_name(object) +
                   "' object is unsafe.");
}

/// What Python's `object[key]` is; nullopt for a TypeError or LookupError.
std::optional<Value> subscript(Rendering& rendering, const Value& object, const Value& key) {
  if (const Dict* dict = object.dict()) {
    // What cannot be hashed is no key: Jinja takes Python's TypeError for a missing one.
    if (key.list() != nullptr || key.dict() != nullptr) return std::nullopt;
    const Value* value = dict->find(key);
    return value == nullptr ? std::nullopt : std::optional<Value>(*value);
  }
  if (object.object() != nullptr) return object.object()->item(rendering, key);
  const auto index = key.integer();
  const Text* text = object.text();
  const Sequence* sequence = object.sequence();
  if (!index || (text == nullptr && sequence == nullptr)) return std::nullopt;
  const auto size = static_cast<std::int64_t>(text ? text->length : sequence->items.size());
  const std::int64_t at = *index < 0 ? *index + size : *index;
  if (at < 0 || at >= size) return std::nullopt;
  if (sequence != nullptr) return sequence->items[static_cast<std::size_t>(at)];
  if (text->is_ascii()) {
    return rendering.text(text->bytes.substr(static_cast<std::size_t>(at), 1), text->markup);
  }
  rendering.touch(text->bytes.size());
  const std::size_t offset = offset_of(text->bytes, static_cast<std::size_t>(at));
  return rendering.text(text->bytes.substr(offset, code_point_at(text->bytes, offset).bytes),
                        text->markup);
}

std::string missing_message(Rendering& rendering, const Value& object, const Value& key) {
  if (const Text* text = key.text()) {
    return "'" + described(object) + "' has no attribute '" + text->bytes + "'";
  }
  const bool plain = key.is_number() || key.is_none();
  return described(object) + " has no element " + (plain ? to_str(rendering, key) : type_name(key));
}

struct Bounds {
  std::int64_t start, stop, step;
};

std::int64_t slice_index(const Value& value, std::int64_t otherwise) {
  if (value.is_none()) return otherwise;
  if (value.undefined() != nullptr) fail(value.undefined()->message);
  if (const auto integer = value.integer()) return *integer;
  if (value.big() != nullptr) return INT64_MAX;
  fail("slice indices must be integers or None or have an __index__ method");
}

Bounds slice_bounds(const Value& start, const Value& stop, const Value& step, std::int64_t size) {
  Bounds bounds{0, 0, slice_index(step, 1)};
  if (bounds.step == 0) fail("slice step cannot be zero");
  if (start.big() != nullptr || stop.big() != nullptr || step.big() != nullptr) {
    fail("slices beyond 64 bits are not supported");
  }
  const bool down = bounds.step < 0;
  const std::int64_t lowest = down ? -1 : 0;
  const std::int64_t highest = down ? size - 1 : size;
  const auto clamp = [&](std::int64_t at) {
    return std::clamp(at < 0 ? at + size : at, lowest, highest);
  };
  bounds.start = start.is_none() ? (down ? highest : lowest) : clamp(slice_index(start, 0));
  bounds.stop = stop.is_none() ? (down ? lowest : highest) : clamp(slice_index(stop, 0));
  return bounds;
}

/// Calls `take` with every index that the slice has.
template <class Take>
void each_index(const Bounds& bounds, Take take) {
  if (bounds.step > 0) {
    for (std::int64_t at = bounds.start; at < bounds.stop;) {
      take(static_cast<std::size_t>(at));
      if (bounds.step > bounds.stop - at) break;
      at += bounds.step;
    }
    return;
  }
  for (std::int64_t at = bounds.start; at > bounds.stop;) {
    take(static_cast<std::size_t>(at));
    if (bounds.step < bounds.stop - at) break;
    at += bounds.step;
  }
}

Value slice_text(Rendering& rendering, const Text& text, const Bounds& bounds) {
  rendering.touch(text.bytes.size());
  if (bounds.step == 1) {
    if (bounds.start >= bounds.stop) return rendering.text("", text.markup);
    const auto first = static_cast<std::size_t>(bounds.start);
    const auto count = static_cast<std::size_t>(bounds.stop - bounds.start);
    if (text.is_ascii()) return rendering.text(text.bytes.substr(first, count), text.markup);
    const std::size_t from = offset_of(text.bytes, first);
    const std::string_view rest = std::string_view(text.bytes).substr(from);
    return rendering.text(std::string(rest.substr(0, offset_of(rest, count))), text.markup);
  }
  rendering.step(text.length);
  std::vector<std::size_t> offsets;
  for (std::size_t at = 0; at < text.bytes.size(); at += code_point_at(text.bytes, at).bytes) {
    offsets.push_back(at);
  }
  std::string slice;
  each_index(bounds, [&](std::size_t at) {
    slice.append(text.bytes, offsets[at], code_point_at(text.bytes, offsets[at]).bytes);
  });
  return rendering.text(std::move(slice), text.markup);
}

Value slice_range(Range& range, std::size_t size, const Bounds& bounds) {
  const auto at = [&](std::int64_t index) { return range.at(0) + index * range.step_by(); };
  if (size == 0) fail("a slice of an empty range is not supported");
  return std::shared_ptr<Object>(
      std::make_shared<Range>(at(bounds.start), at(bounds.stop), range.step_by() * bounds.step));
}

}  // namespace

std::optional<Value> own_attribute(Rendering& rendering, const Value& object,
                                   const std::string& name) {
  if (object.undefined() != nullptr) fail(object.undefined()->message);
  if (is_internal(name)) return unsafe(object, name);
  if (object.object() != nullptr) return object.object()->attribute(rendering, name);
  if (const Method method = method_of(object, name)) {
    return std::shared_ptr<Object>(std::make_shared<Function>(
        "builtin_function_or_method",
        [object, method](Rendering& running, Arguments& arguments) {
          return method(running, object, arguments);
        },
        depth_of(object) + 1));
  }
  const Sequence* sequence = object.sequence();
  if (sequence != nullptr && sequence->kind == Sequence::Kind::group) {
    if (name == "grouper") return sequence->items[0];
    if (name == "list") return sequence->items[1];
  }
  switch (foreign_attribute(object, name)) {
    case Foreign::changes:
      return unsafe(object, name);
    case Foreign::unsupported:
      fail("the attribute '" + name + "' of a '" + type_name(object) + "' is not supported");
    case Foreign::none:
      break;
  }
  return std::nullopt;
}

Value attribute_of(Rendering& rendering, const Value& object, const std::string& name) {
  rendering.step();
  if (auto attribute = own_attribute(rendering, object, name)) return *attribute;
  if (const Dict* dict = object.dict()) {
    if (const Value* value = dict->find(name)) return *value;
  }
  return undefined("'" + described(object) + "' has no attribute '" + name + "'");
}

Value item_of(Rendering& rendering, const Value& object, const Value& key) {
  rendering.step();
  if (object.undefined() != nullptr) fail(object.undefined()->message);
  if (auto item = subscript(rendering, object, key)) return *item;
  if (const Text* name = key.text()) {
    if (auto attribute = own_attribute(rendering, object, name->bytes)) return *attribute;
  }
  return undefined(missing_message(rendering, object, key));
}

Value slice_of(Rendering& rendering, const Value& object, const Value& start, const Value& stop,
               const Value& step) {
  if (object.undefined() != nullptr) fail(object.undefined()->message);
  auto* range = object.as<Range>();
  const Text* text = object.text();
  const Sequence* sequence = object.sequence();
  if (range == nullptr && text == nullptr && sequence == nullptr) {
    fail("'" + type_name(object) + "' object cannot be sliced");
  }
  const std::size_t size = text       ? text->length
                           : sequence ? sequence->items.size()
                                      : *range->length(rendering);
  const Bounds bounds = slice_bounds(start, stop, step, static_cast<std::int64_t>(size));
  if (text != nullptr) return slice_text(rendering, *text, bounds);
  if (range != nullptr) return slice_range(*range, size, bounds);
  std::vector<Value> items;
  each_index(bounds, [&](std::size_t at) { items.push_back(sequence->items[at]); });
  return rendering.sequence(std::move(items), sequence->kind == Sequence::Kind::list
                                                  ? Sequence::Kind::list
                                                  : Sequence::Kind::tuple);
}

}  // namespace spd::jinja
