// Filters that take sequences apart and put them together.
#include <algorithm>
#include <array>

#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/attribute_path.h"
#include "model/tokenizer/jinja/attributes.h"
#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/filters.h"
#include "model/tokenizer/jinja/objects.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/printing.h"

namespace spd::jinja {
namespace {

Value length(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("length", arguments, {});
  const auto size = length_of(rendering, subject);
  if (!size) fail("object of type '" + type_name(subject) + "' has no len()");
  return static_cast<std::int64_t>(*size);
}

Value default_filter(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("default", arguments, {"default_value", "boolean"});
  const bool replaced = subject.undefined() != nullptr ||
                        (bound.truth(rendering, 1, false) && !is_true(rendering, subject));
  return replaced ? bound.get(0, rendering.text("")) : subject;
}

Value first(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("first", arguments, {});
  Value item;
  return iterate(rendering, subject)(item) ? item : undefined("No first item, sequence was empty.");
}

/// Whether Python's reversed() takes it.
bool is_reversible(const Value& value) {
  return value.undefined() || value.text() || value.sequence() || value.dict() ||
         value.as<Range>() != nullptr || value.as<View>() != nullptr;
}

Value last(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("last", arguments, {});
  if (!is_reversible(subject)) fail("'" + type_name(subject) + "' object is not reversible");
  if (subject.sequence() != nullptr && !subject.sequence()->items.empty()) {
    return subject.sequence()->items.back();
  }
  const std::vector<Value> items = items_of(rendering, subject);
  return items.empty() ? undefined("No last item, sequence was empty.") : items.back();
}

Value over(Rendering& rendering, const char* type, std::vector<Value> items) {
  const Value held = rendering.list(std::move(items));
  return rendering.iterator(type, iterate(rendering, held), depth_of(held));
}

Value reverse(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("reverse", arguments, {});
  if (subject.text() != nullptr) {
    return slice_of(rendering, subject, None{}, None{}, std::int64_t{-1});
  }
  const Next next = try_iterate(rendering, subject);
  if (!next) fail("argument must be iterable");
  std::vector<Value> items = items_of(rendering, subject);
  std::reverse(items.begin(), items.end());
  // Of what cannot be gone through backwards Jinja makes a list.
  return is_reversible(subject) ? over(rendering, "list_reverseiterator", std::move(items))
                                : rendering.list(std::move(items));
}

Value list(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("list", arguments, {});
  return rendering.list(items_of(rendering, subject));
}

Value items(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound none("items", arguments, {});
  // A generator: it complains only when it is asked.
  return rendering.iterator(
      "generator",
      [&rendering, subject, at = std::size_t{0}](Value& item) mutable {
        if (subject.undefined() != nullptr) return false;
        if (subject.dict() == nullptr) fail("Can only get item pairs from a mapping.");
        const auto& pairs = subject.dict()->items;
        if (at >= pairs.size()) return false;
        item = rendering.tuple({pairs[at].first, pairs[at].second});
        ++at;
        return true;
      },
      depth_of(subject) + 1);
}

Value join(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("join", arguments, {"d", "attribute"});
  const std::string between = bound.has(0) ? to_str(rendering, bound[0]) : "";
  const AttributePath path =
      bound.has_some(1) ? AttributePath(rendering, bound[1]) : AttributePath();
  std::string joined;
  bool is_first = true;
  const Next next = iterate(rendering, subject);
  for (Value item; next(item);) {
    if (!is_first) joined += between;
    is_first = false;
    joined += to_str(rendering, bound.has_some(1) ? path(rendering, item) : item);
    rendering.touch(between.size());
    rendering.check_size(joined.size());
  }
  return rendering.text(std::move(joined));
}

Value batch(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("batch", arguments, {"linecount", "fill_with"}, 1);
  const Value& count = bound[0];
  const Value fill = bound.get(1, None{});
  return rendering.iterator(
      "generator",
      [&rendering, subject, count = Value(count), fill, next = Next(),
       over = false](Value& item) mutable {
        if (over) return false;
        if (!next) next = iterate(rendering, subject);
        std::vector<Value> row;
        for (Value held; !equal(static_cast<std::int64_t>(row.size()), count) || row.empty();) {
          if (!next(held)) {
            over = true;
            break;
          }
          rendering.step();
          row.push_back(held);
        }
        if (over && row.empty()) return false;
        if (over && !fill.is_none() && less(static_cast<std::int64_t>(row.size()), count)) {
          if (!count.is_integer()) fail("batch takes a number of items");
          rendering.step(static_cast<std::uint64_t>(*count.integer()));
          row.resize(static_cast<std::size_t>(*count.integer()), fill);
        }
        item = rendering.list(std::move(row));
        return true;
      },
      std::max(depth_of(subject), depth_of(fill)) + 1);
}

Value slice(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("slice", arguments, {"slices", "fill_with"}, 1);
  const std::int64_t slices = bound.integer(0, 0);
  const Value fill = bound.get(1, None{});
  return rendering.iterator(
      "generator",
      [&rendering, subject, slices, fill, at = std::int64_t{0}](Value& item) mutable {
        const Value held = subject.list() ? subject : rendering.list(items_of(rendering, subject));
        const auto& all = held.sequence()->items;
        if (slices == 0) fail("integer division or modulo by zero");
        if (at >= slices) return false;
        const auto size = static_cast<std::int64_t>(all.size());
        const std::int64_t each = size / slices;
        const std::int64_t extra = size % slices;
        const std::int64_t start = at * each + std::min(at, extra);
        const std::int64_t end = (at + 1) * each + std::min(at + 1, extra);
        std::vector<Value> part(all.begin() + start, all.begin() + end);
        if (!fill.is_none() && at >= extra) part.push_back(fill);
        ++at;
        item = rendering.list(std::move(part));
        return true;
      },
      std::max(depth_of(subject), depth_of(fill)) + 1);
}

Value sum(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("sum", arguments, {"attribute", "start"});
  const AttributePath path =
      bound.has_some(0) ? AttributePath(rendering, bound[0]) : AttributePath();
  Value total = bound.get(1, std::int64_t{0});
  if (total.text() != nullptr) fail("sum() can't sum strings [use ''.join(seq) instead]");
  const Next next = iterate(rendering, subject);
  for (Value item; next(item);) {
    total = arithmetic(rendering, "+", total, bound.has_some(0) ? path(rendering, item) : item);
  }
  return total;
}

Value attribute(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("attr", arguments, {"name"}, 1);
  const std::string& name = bound.text(0).bytes;
  if (const auto found = own_attribute(rendering, subject, name)) return *found;
  return undefined("'" + described(subject) + "' has no attribute '" + name + "'");
}

constexpr auto kFilters = std::to_array<NamedFilter>({
    {"length", length},
    {"count", length},
    {"default", default_filter},
    {"d", default_filter},
    {"first", first},
    {"last", last},
    {"reverse", reverse},
    {"list", list},
    {"items", items},
    {"join", join},
    {"batch", batch},
    {"slice", slice},
    {"sum", sum},
    {"attr", attribute},
});

}  // namespace

std::span<const NamedFilter> sequence_filters() { return kFilters; }

}  // namespace spd::jinja
