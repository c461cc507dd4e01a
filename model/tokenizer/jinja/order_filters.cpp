// Filters that compare the items of a sequence.
#include <algorithm>
#include <array>
#include <cmath>

#include "model/tokenizer/jinja/arguments.h"
#include "model/tokenizer/jinja/attribute_path.h"
#include "model/tokenizer/jinja/compare.h"
#include "model/tokenizer/jinja/filters.h"
#include "model/tokenizer/jinja/operators.h"
#include "model/tokenizer/jinja/splitting.h"

namespace spd::jinja {
namespace {

struct Keyed {
  Value key;
  Value item;
};

/// Python's sorted(): stable, also backwards.
void sort_by_key(Rendering& rendering, std::vector<Keyed>& items, bool backwards) {
  for (const Keyed& item : items) {
    if (item.key.real() != nullptr && std::isnan(*item.key.real())) {
      fail("sorting NaN is not supported");
    }
  }
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& left, const Keyed& right) {
    rendering.step();
    return backwards ? less(right.key, left.key) : less(left.key, right.key);
  });
}

Value items_alone(Rendering& rendering, std::vector<Keyed>& keyed) {
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (Keyed& item : keyed) items.push_back(std::move(item.item));
  return rendering.list(std::move(items));
}

/// The key of a single attribute.
Value key_of(Rendering& rendering, const AttributePath& path, const Value& item, bool with_case) {
  const Value key = path(rendering, item);
  return with_case ? key : ignore_case(rendering, key);
}

Value dict_sort(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.has(1) ? bound.text(1).bytes : "key";
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  if (subject.undefined() != nullptr) fail(subject.undefined()->message);
  if (subject.dict() == nullptr) fail("dictsort of a '" + type_name(subject) + "'");
  const bool with_case = bound.truth(rendering, 0, false);
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : subject.dict()->items) {
    const Value& of = by == "key" ? key : value;
    keyed.push_back({with_case ? of : ignore_case(rendering, of), rendering.tuple({key, value})});
  }
  sort_by_key(rendering, keyed, bound.truth(rendering, 2, false));
  return items_alone(rendering, keyed);
}

/// The paths of "name,other.name".
std::vector<AttributePath> paths_of(Rendering& rendering, const Value& attribute) {
  if (attribute.text() == nullptr) return {AttributePath(rendering, attribute)};
  std::vector<AttributePath> paths;
  for (const std::string_view path : split_at(rendering, attribute.text()->bytes, ",", -1, false)) {
    paths.emplace_back(rendering, path);
  }
  return paths;
}

Value sort(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool with_case = bound.truth(rendering, 1, false);
  const std::vector<AttributePath> paths = paths_of(rendering, bound.get(2, None{}));
  std::vector<Keyed> keyed;
  for (Value& item : items_of(rendering, subject)) {
    std::vector<Value> key;
    for (const AttributePath& path : paths) key.push_back(key_of(rendering, path, item, with_case));
    keyed.push_back({rendering.list(std::move(key)), std::move(item)});
  }
  sort_by_key(rendering, keyed, bound.truth(rendering, 0, false));
  return items_alone(rendering, keyed);
}

Value unique(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("unique", arguments, {"case_sensitive", "attribute"});
  const bool with_case = bound.truth(rendering, 0, false);
  const AttributePath path(rendering, bound.get(1, None{}));
  return rendering.iterator(
      "generator",
      [&rendering, subject, with_case, path, seen = Dict(), next = Next()](Value& item) mutable {
        if (!next) next = iterate(rendering, subject);
        for (Value held; next(held);) {
          rendering.step(8);
          const Value key = key_of(rendering, path, held, with_case);
          if (seen.find(key) != nullptr) continue;
          seen.set(key, None{});
          item = std::move(held);
          return true;
        }
        return false;
      },
      depth_of(subject));
}

template <bool Greatest>
Value extreme(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("min or max", arguments, {"case_sensitive", "attribute"});
  const bool with_case = bound.truth(rendering, 0, false);
  const AttributePath path(rendering, bound.get(1, None{}));
  const Next next = iterate(rendering, subject);
  Value best;
  if (!next(best)) return undefined("No aggregated item, sequence was empty.");
  Value best_key = key_of(rendering, path, best, with_case);
  for (Value item; next(item);) {
    rendering.step();
    Value key = key_of(rendering, path, item, with_case);
    if (!(Greatest ? less(best_key, key, ">") : less(key, best_key))) continue;
    best = std::move(item);
    best_key = std::move(key);
  }
  return best;
}

Value group_by(Rendering& rendering, const Value& subject, const Arguments& arguments) {
  const Bound bound("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const AttributePath path(rendering, bound[0]);
  const std::optional<Value> otherwise =
      bound.has_some(1) ? std::optional<Value>(bound[1]) : std::nullopt;
  const bool with_case = bound.truth(rendering, 2, false);
  const auto key = [&](const Value& item) {
    const Value of = path(rendering, item, otherwise);
    return with_case ? of : ignore_case(rendering, of);
  };
  std::vector<Keyed> keyed;
  for (Value& item : items_of(rendering, subject)) keyed.push_back({key(item), item});
  sort_by_key(rendering, keyed, false);
  std::vector<Value> groups;
  for (std::size_t at = 0; at < keyed.size();) {
    const Value name = with_case ? keyed[at].key : path(rendering, keyed[at].item, otherwise);
    const Value group_key = keyed[at].key;
    std::vector<Value> members;
    for (; at < keyed.size() && equal(keyed[at].key, group_key); ++at) {
      members.push_back(keyed[at].item);
    }
    groups.push_back(
        rendering.sequence({name, rendering.list(std::move(members))}, Sequence::Kind::group));
  }
  return rendering.list(std::move(groups));
}

constexpr auto kFilters = std::to_array<NamedFilter>({
    {"dictsort", dict_sort},
    {"sort", sort},
    {"unique", unique},
    {"min", extreme<false>},
    {"max", extreme<true>},
    {"groupby", group_by},
});

}  // namespace

std::span<const NamedFilter> order_filters() { return kFilters; }

}  // namespace spd::jinja
