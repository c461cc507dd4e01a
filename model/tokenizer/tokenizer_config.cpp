#include "model/tokenizer/tokenizer_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "kernels/device/error.h"
#include "model/input_file.h"
#include "model/json_text.h"
#include "model/tokenizer/file_kind.h"
#include "model/tokenizer/json_component.h"
#include "model/tokenizer/vocabulary.h"

namespace spd {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;

std::optional<std::string> read_text(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::status(file, error).type() == std::filesystem::file_type::not_found) {
    return std::nullopt;
  }
  return read_file(file);
}

// An object from a file, and its keys in the order in which they stand there.
struct Object {
  std::string file;
  json value = json::object();
  std::vector<std::string> keys;

  explicit Object(const std::filesystem::path& path) : file(path.string()) {
    const std::optional<std::string> text = read_text(path);
    if (!text) return;
    refuse_other_kinds(path, *text, "the model's own file of this name");
    const nlohmann::ordered_json ordered = parse_ordered_json(*text, file, kMaxDepth);
    value = json(ordered);
    if (!ordered.is_object()) return;
    for (const auto& item : ordered.items()) keys.push_back(item.key());
  }
  JsonComponent component() const { return {file, value}; }
};

void read_options(const JsonComponent& spec, AddedToken& token) {
  token.content = spec.string("content");
  token.special = spec.boolean_or("special", false);
  token.single_word = spec.boolean_or("single_word", false);
  token.lstrip = spec.boolean_or("lstrip", false);
  token.rstrip = spec.boolean_or("rstrip", false);
  token.normalized = spec.boolean_or("normalized", !token.special);
}

AddedToken special_token(std::string content) {
  AddedToken token;
  token.content = std::move(content);
  token.special = true;
  return token;
}

TokenId parse_id(const JsonComponent& where, std::string_view text) {
  std::int64_t id = -1;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || stop != text.data() + text.size() || id < 0 ||
      id > Vocabulary::kMaxId) {
    where.fail(fmt::format("{} is not a token id", quoted_text(text)));
  }
  return static_cast<TokenId>(id);
}

std::vector<AddedToken> read_decoder(const JsonComponent& decoder) {
  std::vector<AddedToken> tokens;
  for (const auto& item : decoder.value().items()) {
    AddedToken token;
    token.id = parse_id(decoder, item.key());
    read_options(decoder.object(item.key()), token);
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
    token.normalized = true;  // as added tokens that are not special are by default
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// The tokens with names, and those without, as one file or two say.
class SpecialTokens {
 public:
  // `instead`: what was read before gives way.
  void read(const Object& object, bool instead) {
    const JsonComponent spec = object.component();
    for (const std::string& key : object.keys) {
      if (!key.ends_with("_token") || !spec.has(key)) continue;
      const bool is_object = object.value[key].is_object();
      // add_bos_token and the like are no tokens.
      if (!is_object && !object.value[key].is_string()) continue;
      if (is_object && !object.value[key].contains("content")) continue;
      set(key, is_object ? token_of(spec.object(key)) : special_token(spec.string(key)), instead);
    }
    for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
      if (!spec.has(key) || object.value[key].empty()) continue;
      if (object.value[key].is_object()) {
        read_named(spec.object(key), instead);
      } else if (extra_.empty()) {
        extra_ = read_list(spec, key);
      }
      break;
    }
  }

  std::optional<std::string> content(const std::string& name) const {
    for (const auto& [key, token] : named_) {
      if (key == name) return token.content;
    }
    return std::nullopt;
  }

  bool has(const std::string& content, bool named) const {
    const auto is_it = [&](const AddedToken& token) { return token.content == content; };
    return std::any_of(named_.begin(), named_.end(),
                       [&](const auto& named) { return is_it(named.second); }) ||
           (!named && std::any_of(extra_.begin(), extra_.end(), is_it));
  }
  std::vector<std::string> named() const {
    std::vector<std::string> contents;
    for (const auto& [key, token] : named_) contents.push_back(token.content);
    return contents;
  }

  // transformers' own names come first.
  std::vector<AddedToken> all() const {
    constexpr std::array kNames = {"bos_token", "eos_token", "unk_token", "sep_token",
                                   "pad_token", "cls_token", "mask_token"};
    std::vector<AddedToken> tokens;
    const auto is_own = [&](const std::string& key) {
      return std::find(kNames.begin(), kNames.end(), key) != kNames.end();
    };
    for (const char* name : kNames) {
      for (const auto& [key, token] : named_) {
        if (key == name) tokens.push_back(token);
      }
    }
    for (const auto& [key, token] : named_) {
      if (!is_own(key)) tokens.push_back(token);
    }
    tokens.insert(tokens.end(), extra_.begin(), extra_.end());
    return tokens;
  }

 private:
  static AddedToken token_of(const JsonComponent& spec) {
    AddedToken token;
    read_options(spec, token);
    token.special = true;
    return token;
  }
  void set(const std::string& key, AddedToken token, bool instead) {
    for (auto& [name, known] : named_) {
      if (name != key) continue;
      if (instead) known = std::move(token);
      return;
    }
    named_.emplace_back(key, std::move(token));
  }
  void read_named(const JsonComponent& spec, bool instead) {
    for (const auto& item : spec.value().items()) {
      set(item.key(),
          item.value().is_object() ? token_of(spec.object(item.key()))
                                   : special_token(spec.string(item.key())),
          instead);
    }
  }
  std::vector<AddedToken> read_list(const JsonComponent& spec, const std::string& key) const {
    std::vector<AddedToken> tokens;
    const json& list = spec.value()[key];
    if (!list.is_array()) spec.fail(fmt::format("\"{}\" should be a list of tokens", key));
    for (const json& item : list) {
      if (item.is_string()) {
        tokens.push_back(special_token(item.get<std::string>()));
      } else {
        tokens.push_back(token_of(spec.child(fmt::format("{}[{}]", key, tokens.size()), item)));
      }
    }
    return tokens;
  }

  std::vector<std::pair<std::string, AddedToken>> named_;
  std::vector<AddedToken> extra_;
};

}  // namespace

TokenizerConfig TokenizerConfig::load(const std::filesystem::path& dir) {
  const Object file(dir / "tokenizer_config.json");
  const Object map(dir / "special_tokens_map.json");
  const JsonComponent json_config = file.component();

  TokenizerConfig config;
  config.model_type = Object(dir / "config.json").component().string_or("model_type", "");
  config.tokenizer_class = json_config.string_or("tokenizer_class", "");
  for (const auto& [key, field] :
       {std::pair{"add_bos_token", &config.add_bos_token},
        std::pair{"add_eos_token", &config.add_eos_token}, std::pair{"legacy", &config.legacy}}) {
    if (json_config.has(key)) *field = json_config.boolean_or(key, false);
  }
  config.add_prefix_space = json_config.boolean_or("add_prefix_space", false);
  const bool has_decoder = json_config.has("added_tokens_decoder");
  if (has_decoder) {
    config.added_tokens = read_decoder(json_config.object("added_tokens_decoder"));
  } else {
    const Object added(dir / "added_tokens.json");
    config.added_tokens = read_added_tokens(added.component());
  }
  std::sort(config.added_tokens.begin(), config.added_tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  SpecialTokens special;
  special.read(file, true);
  if (!has_decoder) {
    special.read(map, true);
    config.always_special = special.named();
  }
  config.special_tokens = special.all();
  for (AddedToken& token : config.added_tokens) {
    if (!special.has(token.content, /*named=*/has_decoder)) continue;
    token.special = true;
    if (!has_decoder) token.normalized = false;
  }
  special.read(map, false);
  for (const auto& [key, field] :
       {std::pair{"bos_token", &config.bos_token}, std::pair{"eos_token", &config.eos_token},
        std::pair{"unk_token", &config.unk_token}, std::pair{"pad_token", &config.pad_token}}) {
    *field = special.content(key);
  }
  return config;
}

bool TokenizerConfig::is_llama() const {
  return model_type == "llama" && (tokenizer_class.empty() || tokenizer_class == "LlamaTokenizer" ||
                                   tokenizer_class == "LlamaTokenizerFast");
}

void TokenizerConfig::add_to(AddedTokenList& list) const {
  for (const AddedToken& token : added_tokens) list.add(token, token.id);
  for (const AddedToken& token : special_tokens) {
    if (!list.has(token.content)) list.add(token, std::nullopt);
  }
  for (const std::string& content : always_special) list.mark_special(content);
}

}  // namespace spd
