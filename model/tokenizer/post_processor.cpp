#include "model/tokenizer/post_processor.h"

#include <fmt/format.h>

#include "model/json_text.h"

namespace spd {
namespace {

TokenId checked_id(const JsonComponent& spec, const nlohmann::json& id, std::int64_t vocab_size) {
  if (!id.is_number_integer() || id.get<std::int64_t>() < 0 ||
      id.get<std::int64_t>() >= vocab_size) {
    spec.fail(fmt::format("{} is not the id of a token", shown_json(id)));
  }
  return id.get<TokenId>();
}

// The special token's ids are given beside the template, by its name there.
void append_special(const JsonComponent& spec, const std::string& name, std::int64_t vocab_size,
                    std::vector<TokenId>& ids) {
  const nlohmann::json& list = [&]() -> const nlohmann::json& {
    const nlohmann::json& entry = spec.object("special_tokens").object(name).value();
    const auto found = entry.find("ids");
    if (found == entry.end() || !found->is_array()) {
      spec.fail(fmt::format("special token \"{}\" should have a list \"ids\"", name));
    }
    return *found;
  }();
  for (const nlohmann::json& id : list) ids.push_back(checked_id(spec, id, vocab_size));
}

PostProcessor make_template(const JsonComponent& spec, std::int64_t vocab_size) {
  PostProcessor affixes;
  bool text_seen = false;
  for (const JsonComponent& part : spec.objects("single")) {
    if (part.has("Sequence")) {
      if (text_seen)
        part.fail("a template that repeats the text is not supported",
                  "use a model whose tokenizer puts tokens around a text once");
      text_seen = true;
      continue;
    }
    append_special(spec, part.object("SpecialToken").string("id"), vocab_size,
                   text_seen ? affixes.suffix : affixes.prefix);
  }
  if (!text_seen) spec.fail("the template \"single\" has no place for the text");
  return affixes;
}

// [token, id] under "cls" goes before the text, under "sep" after it.
PostProcessor make_cls_sep(const JsonComponent& spec, std::int64_t vocab_size) {
  const auto id_of = [&](const char* key) {
    const auto pair = spec.value().find(key);
    if (pair == spec.value().end() || !pair->is_array() || pair->size() != 2) {
      spec.fail(fmt::format("\"{}\" should be a token and its id", key));
    }
    return checked_id(spec, (*pair)[1], vocab_size);
  };
  return {{id_of("cls")}, {id_of("sep")}};
}

}  // namespace

PostProcessor make_post_processor(const JsonComponent& spec, std::int64_t vocab_size) {
  const std::string type = spec.type();
  if (type == "ByteLevel") return {};
  if (type == "TemplateProcessing") return make_template(spec, vocab_size);
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    return make_cls_sep(spec, vocab_size);
  }
  if (type == "Sequence") {
    PostProcessor all;
    for (const JsonComponent& part : spec.objects("processors")) {
      const PostProcessor one = make_post_processor(part, vocab_size);
      all.prefix.insert(all.prefix.begin(), one.prefix.begin(), one.prefix.end());
      all.suffix.insert(all.suffix.end(), one.suffix.begin(), one.suffix.end());
    }
    return all;
  }
  spec.not_supported("post-processor");
}

}  // namespace spd
