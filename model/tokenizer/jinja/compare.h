// Equality, order, membership and truth of values, as Python has them.
#pragma once

#include <cstddef>
#include <string_view>

#include "model/tokenizer/jinja/value.h"

namespace spd::jinja {

bool is_true(Rendering& rendering, const Value& value);
bool equal(const Value& left, const Value& right);
/// Python's `left < right`; `sign` names the operator in the message where there is no order.
bool less(const Value& left, const Value& right, const char* sign = "<");
/// Python's `left <= right`.
bool less_or_equal(const Value& left, const Value& right, const char* sign = "<=");
/// Python's `item in container`.
bool contains(Rendering& rendering, const Value& container, const Value& item);

/// Equal values have equal hashes. Fails for what Python cannot hash.
std::size_t hash_of(const Value& value);
std::size_t hash_of(std::string_view text);

}  // namespace spd::jinja
