// Jinja's filters.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

using Filter = Value (*)(Rendering&, const Value& subject, const Arguments& arguments);

/// Fails where Jinja has no such filter, or where it is not supported here.
Value apply_filter(Rendering& rendering, const std::string& name, const Value& subject,
                   const Arguments& arguments);
/// Whether Jinja has such a filter, supported or not.
bool is_filter_name(std::string_view name);

struct NamedFilter {
  std::string_view name;
  Filter filter;
};
std::span<const NamedFilter> text_filters();
std::span<const NamedFilter> markup_filters();
std::span<const NamedFilter> number_filters();
std::span<const NamedFilter> sequence_filters();
std::span<const NamedFilter> selection_filters();
std::span<const NamedFilter> order_filters();

}  // namespace spd::jinja
