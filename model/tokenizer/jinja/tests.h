// Jinja's tests: what may stand after `is`.
#pragma once

#include <string>
#include <string_view>

#include "model/tokenizer/jinja/rendering.h"

namespace spd::jinja {

/// Fails where there is no such test.
bool apply_test(Rendering& rendering, const std::string& name, const Value& value,
                const Arguments& arguments);
bool is_test_name(std::string_view name);

}  // namespace spd::jinja
