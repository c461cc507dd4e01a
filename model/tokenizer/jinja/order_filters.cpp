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
void sort_by_key(Engine& engine, std::vector<Keyed>& items, bool backwards) {
  for (const Keyed& item : items) {
    if (item.key.real() != nullptr && std::isnan(*item.key.real())) {
      fail("sorting NaN is not supported");
    }
  }
  std::stable_sort(items.begin(), items.end(), [&](const Keyed& left, const Keyed& right) {
    engine.step();
    return backwards ? less(right.key, left.key) : less(left.key, right.key);
  });
}

Value items_alone(Engine& engine, std::vector<Keyed>& keyed) {
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (Keyed& item : keyed) items.push_back(std::move(item.item));
  return engine.list(std::move(items));
}

/// The key of a single attribute.
Value key_of(Engine& engine, const AttributePath& path, const Value& item, bool with_case) {
  const Value key = path(engine, item);
  return with_case ? key : ignore_case(engine, key);
}

Value dict_sort(Engine& engine, const Value& subject, const Arguments& arguments) {
  const Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.has(1) ? bound.text(1).bytes : "key";
  if (by != "key" && by != "value") fail("You can only sort by either \"key\" or \"value\"");
  if (subject.undefined() != nullptr) fail(subject.undefined()->message);
  if (subject.dict() == nullptr) fail("dictsort of a '" + type_name(subject) + "'");
  const bool with_case = bound.truth(engine, 0, false);
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : subject.dict()->items) {
    const Value& of = by == "key" ? key : value;
    keyed.push_back({with_case ? of : ignore_case(engine, of), engine.tuple({key, value})});
  }
  sort_by_key(engine, keyed, bound.truth(engine, 2, false));
  return items_alone(engine, keyed);
}

/// The paths of "name,other.name".
std::vector<AttributePath> paths_of(Engine& engine, const Value& attribute) {
  if (attribute.text() == nullptr) return {AttributePath(engine, attribute)};
  std::vector<AttributePath> paths;
  for (const std::string_view path : split_at(engine, attribute.text()->bytes, ",", -1, false)) {
    paths.emplace_back(engine, path);
  }
  return paths;
}

Value sort(Engine& engine, const Value& subject, const Arguments& arguments) {
  const Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool with_case = bound.truth(engine, 1, false);
  const std::vector<AttributePath> paths = paths_of(engine, bound.get(2, None{}));
  std::vector<Keyed> keyed;
  for (Value& item : items_of(engine, subject)) {
    std::vector<Value> key;
    for (const AttributePath& path : paths) key.push_back(key_of(engine, path, item, with_case));
    keyed.push_back({engine.list(std::move(key)), std::move(item)});
  }
  sort_by_key(engine, keyed, bound.truth(engine, 0, false));
  return items_alone(engine, keyed);
}

Value unique(Engine& engine, const Value& subject, const Arguments& arguments) {
  const Bound bound("unique", arguments, {"case_sensitive", "attribute"});
  const bool with_case = bound.truth(engine, 0, false);
  const AttributePath path(engine, bound.get(1, None{}));
  return engine.iterator(
      "generator",
      [&engine, subject, with_case, path, seen = Dict(), next = Next()](Value& item) mutable {
        if (!next) next = iterate(engine, subject);
        for (Value held; next(held);) {
          engine.step(8);
          const Value key = key_of(engine, path, held, with_case);
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
Value extreme(Engine& engine, const Value& subject, const Arguments& arguments) {
  const Bound bound("min or max", arguments, {"case_sensitive", "attribute"});
  const bool with_case = bound.truth(engine, 0, false);
  const AttributePath path(engine, bound.get(1, None{}));
  const Next next = iterate(engine, subject);
  Value best;
  if (!next(best)) return undefined("No aggregated item, sequence was empty.");
  Value best_key = key_of(engine, path, best, with_case);
  for (Value item; next(item);) {
    engine.step();
    Value key = key_of(engine, path, item, with_case);
    if (!(Greatest ? less(best_key, key, ">") : less(key, best_key))) continue;
    best = std::move(item);
    best_key = std::move(key);
  }
  return best;
}

Value group_by(Engine& engine, const Value& subject, const Arguments& arguments) {
  const Bound bound("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const AttributePath path(engine, bound[0]);
  const std::optional<Value> otherwise =
      bound.has_some(1) ? std::optional<Value>(bound[1]) : std::nullopt;
  const bool with_case = bound.truth(engine, 2, false);
  const auto key = [&](const Value& item) {
    const Value of = path(engine, item, otherwise);
    return with_case ? of : ignore_case(engine, of);
  };
  std::vector<Keyed> keyed;
  for (Value& item : items_of(engine, subject)) keyed.push_back({key(item), item});
  sort_by_key(engine, keyed, false);
  std::vector<Value> groups;
  for (std::size_t at = 0; at < keyed.size();) {
    const Value name = with_case ? keyed[at].key : path(engine, keyed[at].item, otherwise);
    const Value group_key = keyed[at].key;
    std::vector<Value> members;
    for (; at < keyed.size() && equal(keyed[at].key, group_key); ++at) {
      members.push_back(keyed[at].item);
    }
    groups.push_back(
        engine.sequence({name, engine.list(std::move(members))}, Sequence::Kind::group));
  }
  return engine.list(std::move(groups));
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
