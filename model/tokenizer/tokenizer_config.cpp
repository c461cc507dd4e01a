#include "model/tokenizer/tokenizer_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <utility>

#include "kernels/device/error.h"
#include "model/tokenizer/json_component.h"
#include "model/tokenizer/vocabulary.h"

namespace spd {
namespace {

using nlohmann::json;

std::optional<std::string> read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

json read_object(const std::filesystem::path& file) {
  const std::optional<std::string> text = read_text(file);
  if (!text) return json::object();
  try {
    return json::parse(*text);
  } catch (const json::exception& error) {
    throw Error(ErrorCode::input,
                fmt::format("{}: not valid JSON: {}", file.string(), error.what()),
                "fetch the file again");
  }
}

// A token is its text, or an object with "content".
std::optional<std::string> token_text(const JsonComponent& config, const std::string& key) {
  if (!config.has(key)) return std::nullopt;
  if (config.value()[key].is_object()) return config.object(key).string("content");
  return config.string(key);
}

TokenId parse_id(const JsonComponent& where, std::string_view text) {
  std::int64_t id = -1;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || stop != text.data() + text.size() || id < 0 ||
      id > Vocabulary::kMaxId) {
    where.fail(fmt::format("\"{}\" is not a token id", text));
  }
  return static_cast<TokenId>(id);
}

std::vector<AddedToken> read_decoder(const JsonComponent& decoder) {
  std::vector<AddedToken> tokens;
  for (const auto& item : decoder.value().items()) {
    const JsonComponent spec = decoder.object(item.key());
    AddedToken token;
    token.id = parse_id(decoder, item.key());
    token.content = spec.string("content");
    token.special = spec.boolean_or("special", false);
    token.single_word = spec.boolean_or("single_word", false);
    token.lstrip = spec.boolean_or("lstrip", false);
    token.rstrip = spec.boolean_or("rstrip", false);
    token.normalized = spec.boolean_or("normalized", !token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::vector<AddedToken> read_added_tokens(const JsonComponent& ids) {
  std::vector<AddedToken> tokens;
  for (const auto& item : ids.value().items()) {
    AddedToken token;
    token.content = item.key();
    token.id = parse_id(ids, std::to_string(ids.integer(item.key())));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::optional<std::string> read_chat_template(const JsonComponent& config) {
  if (!config.has("chat_template")) return std::nullopt;
  if (!config.value()["chat_template"].is_array()) return config.string("chat_template");
  for (const JsonComponent& named : config.objects("chat_template")) {
    if (named.string("name") == "default") return named.string("template");
  }
  return std::nullopt;
}

}  // namespace

TokenizerConfig TokenizerConfig::load(const std::filesystem::path& dir) {
  const json config_json = read_object(dir / "tokenizer_config.json");
  const json map_json = read_object(dir / "special_tokens_map.json");
  const json added_json = read_object(dir / "added_tokens.json");
  const JsonComponent json_config((dir / "tokenizer_config.json").string(), config_json);
  const JsonComponent map((dir / "special_tokens_map.json").string(), map_json);

  TokenizerConfig config;
  config.tokenizer_class = json_config.string_or("tokenizer_class", "");
  for (const auto& [key, field] : {std::pair{"add_bos_token", &config.add_bos_token},
                                   std::pair{"add_eos_token", &config.add_eos_token}}) {
    if (json_config.has(key)) *field = json_config.boolean_or(key, false);
  }
  config.add_prefix_space = json_config.boolean_or("add_prefix_space", false);
  for (const auto& [key, field] :
       {std::pair{"bos_token", &config.bos_token}, std::pair{"eos_token", &config.eos_token},
        std::pair{"unk_token", &config.unk_token}, std::pair{"pad_token", &config.pad_token}}) {
    *field = token_text(json_config, key);
    if (!*field) *field = token_text(map, key);
  }
  if (json_config.has("added_tokens_decoder")) {
    config.added_tokens = read_decoder(json_config.object("added_tokens_decoder"));
  } else {
    config.added_tokens =
        read_added_tokens(JsonComponent((dir / "added_tokens.json").string(), added_json));
  }
  const std::vector<std::string> special = config.special_tokens();
  for (AddedToken& token : config.added_tokens) {
    if (std::find(special.begin(), special.end(), token.content) != special.end()) {
      token.special = true;
    }
  }
  config.chat_template = read_text(dir / "chat_template.jinja");
  if (!config.chat_template) config.chat_template = read_chat_template(json_config);
  return config;
}

std::vector<std::string> TokenizerConfig::special_tokens() const {
  std::vector<std::string> tokens;
  for (const auto* token : {&bos_token, &eos_token, &unk_token, &pad_token}) {
    if (*token) tokens.push_back(**token);
  }
  return tokens;
}

}  // namespace spd
