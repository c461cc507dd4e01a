#include "model/tokenizer/jinja/template.h"

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/integer.h"
#include "model/tokenizer/jinja/interpreter.h"
#include "model/tokenizer/jinja/parser.h"
#include "model/tokenizer/jinja/scoping.h"

namespace spd::jinja {
namespace {

constexpr const char* kMend = "mend the template, or give a plain prompt instead of a chat";

Error placed(const std::string& name, const Failure& failure, const char* remedy = "") {
  const std::string where = failure.place.line == 0
                                ? ""
                                : "line " + std::to_string(failure.place.line) + ", column " +
                                      std::to_string(failure.place.column) + ": ";
  return Error(ErrorCode::input, name + ": " + where + failure.message,
               failure.is_limit ? kMend : remedy);
}

Value from_json(Rendering& rendering, const nlohmann::ordered_json& json) {
  const Level one_more = rendering.level();
  rendering.step();
  switch (json.type()) {
    case nlohmann::json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::json::value_t::number_integer:
      return json.get<std::int64_t>();
    case nlohmann::json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > INT64_MAX) {
        return to_value(Big(json.get<std::uint64_t>()));
      }
      return json.get<std::int64_t>();
    case nlohmann::json::value_t::number_float:
      return json.get<double>();
    case nlohmann::json::value_t::string: {
      const auto& text = json.get_ref<const std::string&>();
      return rendering.text(is_ascii(text) ? text : replace_invalid_utf8(text));
    }
    case nlohmann::json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(rendering, item));
      return rendering.list(std::move(items));
    }
    case nlohmann::json::value_t::object: {
      Dict dict;
      for (const auto& [key, value] : json.items()) {
        dict.set(rendering.text(replace_invalid_utf8(key)), from_json(rendering, value));
      }
      return rendering.dict(std::move(dict));
    }
    default:
      return None{};
  }
}

}  // namespace

struct Template::Parsed {
  std::string name;
  Program program;
};

Template Template::parse(std::string_view source, const std::string& name) {
  try {
    if (replace_invalid_utf8(source) != source) fail("the template is not UTF-8");
    Rendering rendering(RenderOptions{});
    auto parsed = std::make_shared<Parsed>();
    parsed->name = name;
    parsed->program.body = Parser(rendering, source).parse();
    scope(parsed->program);
    return Template(std::move(parsed));
  } catch (const Failure& failure) {
    throw placed(name, failure, kMend);
  }
}

std::string Template::render(const nlohmann::ordered_json& variables,
                             const RenderOptions& options) const {
  try {
    Rendering rendering(options);
    const Value converted = from_json(rendering, variables);
    if (converted.dict() == nullptr) fail("the variables of a template are no object");
    return Interpreter(rendering, *converted.dict()).run(parsed_->program);
  } catch (const Failure& failure) {
    throw placed(parsed_->name, failure);
  }
}

}  // namespace spd::jinja
