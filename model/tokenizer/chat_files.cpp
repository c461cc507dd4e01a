#include "model/tokenizer/chat_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/input_file.h"
#include "model/json_text.h"

namespace spd {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 32;
constexpr std::array<std::string_view, 7> kNamedTokens{
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

[[noreturn]] void refuse(const std::string& where, const std::string& problem) {
  throw Error(ErrorCode::input, fmt::format("{}: {}", where, problem),
              "mend the file, or replace it by an undamaged copy");
}

bool is_there(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

// A file that is not there counts as empty.
Json read_object(const std::filesystem::path& file) {
  if (!is_there(file)) return Json::object();
  Json json = parse_ordered_json(read_file(file), file.string(), kMaxDepth);
  if (!json.is_object()) refuse(file.string(), "must hold a JSON object");
  return json;
}

std::string read_jinja(const std::filesystem::path& file) {
  std::string jinja = read_file(file);
  if (invalid_utf8_at(jinja) != std::string::npos) refuse(file.string(), "is not UTF-8 text");
  return jinja;
}

std::string string_in(const Json& object, const char* key, const std::string& where) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || !found->is_string()) {
    refuse(where, fmt::format("\"{}\" must be a string", key));
  }
  return found->get<std::string>();
}

std::vector<ChatTemplateSource> from_jinja_files(const std::filesystem::path& dir) {
  std::vector<ChatTemplateSource> found;
  const std::filesystem::path main = dir / "chat_template.jinja";
  if (is_there(main)) found.push_back({"default", read_jinja(main), main.string()});
  const std::filesystem::path folder = dir / "additional_chat_templates";
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".jinja") files.push_back(entry->path());
  }
  std::sort(files.begin(), files.end());
  for (const std::filesystem::path& file : files) {
    const std::string name = file.stem().string();
    if (name == "default") found.clear();  // it stands for chat_template.jinja, then
    found.push_back({name, read_jinja(file), file.string()});
  }
  return found;
}

// `value`: the field "chat_template" of `file`.
std::vector<ChatTemplateSource> from_field(const Json& value, const std::filesystem::path& file) {
  const std::string where = fmt::format("{}: chat_template", file.string());
  if (value.is_null()) return {};
  if (value.is_string()) return {{"default", value.get<std::string>(), where}};
  if (!value.is_array()) refuse(where, "must be a string or a list of named templates");
  std::vector<ChatTemplateSource> found;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", where, i);
    const std::string name = string_in(value[i], "name", place);
    std::erase_if(found, [&](const ChatTemplateSource& source) { return source.name == name; });
    found.push_back({name, string_in(value[i], "template", place), place});
  }
  return found;
}

Json field(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? Json() : *found;
}

// A token is its text, or an object with "content"; an added token has more fields.
Json token_text(const Json& value, const std::string& key, const std::string& where) {
  if (value.is_null() || value.is_string()) return value;
  if (value.is_object()) return string_in(value, "content", fmt::format("{}: {}", where, key));
  refuse(where, fmt::format("{} must be a token: a string, or an object with \"content\"", key));
}

bool is_named(const std::string& key) {
  return std::find(kNamedTokens.begin(), kNamedTokens.end(), key) != kNamedTokens.end();
}

void add_tokens(const Json& object, const std::string& where, Json& tokens) {
  for (const auto& [key, value] : object.items()) {
    const bool of_the_model = key.ends_with("_token") && (value.is_string() || value.is_object());
    if (is_named(key) || of_the_model) tokens[key] = token_text(value, key, where);
  }
  // Tokens of the model's own, by name; a list has none.
  const Json extra = field(object, "extra_special_tokens");
  if (!extra.is_object()) return;
  for (const auto& [key, value] : extra.items()) tokens[key] = token_text(value, key, where);
}

bool is_byte_level(const std::filesystem::path& tokenizer_json) {
  return is_there(tokenizer_json) &&
         read_file(tokenizer_json).find("\"ByteLevel\"") != std::string::npos;
}

// What transformers' classes call their tokens where the files are silent.
Json tokens_of_class(std::string name, const std::filesystem::path& dir) {
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  const char* end = "<|endoftext|>";
  if (name == "Qwen2Tokenizer") {
    return {{"eos_token", end}, {"unk_token", end}, {"pad_token", end}};
  }
  if (name == "GPT2Tokenizer") {
    return {{"bos_token", end}, {"eos_token", end}, {"unk_token", end}};
  }
  // LLaMA 3's files name LLaMA 2's class, which is not taken for them.
  if (name == "LlamaTokenizer" && !is_byte_level(dir / "tokenizer.json")) {
    return {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};
  }
  return Json::object();
}

Json special_tokens_of(const std::filesystem::path& dir, const Json& config) {
  const Json name = field(config, "tokenizer_class");
  Json tokens = tokens_of_class(name.is_string() ? name.get<std::string>() : "", dir);
  add_tokens(config, (dir / "tokenizer_config.json").string(), tokens);
  if (!config.contains("added_tokens_decoder")) {
    const std::filesystem::path map = dir / "special_tokens_map.json";
    add_tokens(read_object(map), map.string(), tokens);
  }
  // null says that there is no such token: to a template, a name that is not defined.
  Json named = Json::object();
  for (const auto& [key, value] : tokens.items()) {
    if (!value.is_null()) named[key] = value;
  }
  return named;
}

}  // namespace

ChatFiles ChatFiles::load(const std::filesystem::path& dir) {
  ChatFiles files;
  const std::filesystem::path config_file = dir / "tokenizer_config.json";
  const Json config = read_object(config_file);
  files.special_tokens = special_tokens_of(dir, config);
  files.templates = from_jinja_files(dir);
  if (files.templates.empty()) {
    files.templates = from_field(field(config, "chat_template"), config_file);
  }
  if (files.templates.empty()) {
    const std::filesystem::path old = dir / "chat_template.json";
    files.templates = from_field(field(read_object(old), "chat_template"), old);
  }
  return files;
}

}  // namespace spd
