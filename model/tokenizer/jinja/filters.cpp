#include "model/tokenizer/jinja/filters.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace spd::jinja {
namespace {

/// Jinja has these, but what they print is random, an address, or HTML for browsers.
constexpr std::array<std::string_view, 5> kUnsupported{"filesizeformat", "pprint", "random",
                                                       "urlize", "wordwrap"};

const std::unordered_map<std::string_view, Filter>& all() {
  static const auto* const filters = [] {
    auto* made = new std::unordered_map<std::string_view, Filter>();
    for (const auto& group : {text_filters(), markup_filters(), number_filters(),
                              sequence_filters(), selection_filters(), order_filters()}) {
      for (const NamedFilter& entry : group) made->emplace(entry.name, entry.filter);
    }
    return made;
  }();
  return *filters;
}

bool is_unsupported(std::string_view name) {
  return std::find(kUnsupported.begin(), kUnsupported.end(), name) != kUnsupported.end();
}

}  // namespace

Value apply_filter(Rendering& rendering, const std::string& name, const Value& subject,
                   const Arguments& arguments) {
  rendering.step();
  const auto found = all().find(name);
  if (found != all().end()) return found->second(rendering, subject, arguments);
  if (is_unsupported(name)) fail("the filter '" + name + "' is not supported");
  fail("No filter named '" + name + "'");
}

bool is_filter_name(std::string_view name) {
  return all().count(name) != 0 || is_unsupported(name);
}

}  // namespace spd::jinja
