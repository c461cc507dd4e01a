#include "model/tokenizer/jinja/arguments.h"

#include "model/tokenizer/jinja/compare.h"

namespace spd::jinja {

Bound::Bound(std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> parameters, std::size_t required)
    : function_(function), values_(parameters.size()) {
  if (arguments.positional.size() > parameters.size()) {
    fail(function_ + "() takes at most " + std::to_string(parameters.size()) + " argument(s), " +
         std::to_string(arguments.positional.size()) + " given");
  }
  for (std::size_t at = 0; at < arguments.positional.size(); ++at) {
    values_[at] = arguments.positional[at];
  }
  for (const auto& [name, value] : arguments.named) {
    std::size_t at = 0;
    for (const std::string_view parameter : parameters) {
      if (parameter == name) break;
      ++at;
    }
    if (at == parameters.size()) {
      fail(function_ + "() got an unexpected keyword argument '" + name + "'");
    }
    if (values_[at]) fail(function_ + "() got multiple values for argument '" + name + "'");
    values_[at] = value;
  }
  for (std::size_t at = 0; at < required; ++at) {
    if (!values_[at]) {
      const std::string name(parameters.begin()[at]);
      fail(function_ + "() misses its argument '" + name.substr(name[0] == '/') + "'");
    }
  }
}

std::int64_t Bound::integer(std::size_t at, std::int64_t otherwise) const {
  if (!has(at)) return otherwise;
  const auto integer = values_[at]->integer();
  if (integer) return *integer;
  if (values_[at]->big() != nullptr) fail("Python int too large to convert to C ssize_t");
  fail("'" + type_name(*values_[at]) + "' object cannot be interpreted as an integer");
}

bool Bound::truth(Rendering& rendering, std::size_t at, bool otherwise) const {
  return has(at) ? is_true(rendering, *values_[at]) : otherwise;
}

const Text& Bound::text(std::size_t at) const {
  const Text* text = values_[at]->text();
  if (text == nullptr) {
    fail(function_ + "() argument must be str, not " + type_name(*values_[at]));
  }
  return *text;
}

}  // namespace spd::jinja
