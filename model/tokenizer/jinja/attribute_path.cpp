#include "model/tokenizer/jinja/attribute_path.h"

#include <algorithm>

#include "model/tokenizer/jinja/attributes.h"
#include "model/tokenizer/jinja/characters.h"
#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/splitting.h"

namespace spd::jinja {

AttributePath::AttributePath(Rendering& rendering, const Value& path) {
  if (path.is_none()) return;
  if (const Text* text = path.text()) {
    add(rendering, text->bytes);
  } else {
    parts_.push_back(path);
  }
}

void AttributePath::add(Rendering& rendering, std::string_view path) {
  for (const std::string_view part : split_at(rendering, path, ".", -1, false)) {
    const bool digits = !part.empty() && std::all_of(part.begin(), part.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
    const auto index = digits ? parse_integer(rendering, part, 10) : std::nullopt;
    parts_.push_back(index ? *index : rendering.text(std::string(part)));
  }
}

Value AttributePath::operator()(Rendering& rendering, const Value& item,
                                const std::optional<Value>& otherwise) const {
  Value value = item;
  for (const Value& part : parts_) {
    value = item_of(rendering, value, part);
    if (otherwise && !otherwise->is_none() && value.undefined() != nullptr) value = *otherwise;
  }
  return value;
}

Value ignore_case(Rendering& rendering, const Value& value) {
  if (value.text() == nullptr) return value;
  rendering.step(value.text()->length);
  return rendering.text(lower(value.text()->bytes));
}

}  // namespace spd::jinja
