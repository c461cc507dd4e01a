#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/device/error.h"
#include "model/config_families.h"

namespace spd {
namespace {

namespace fs = std::filesystem;

constexpr const char* kArchitectures = "architectures";
constexpr const char* kCorrect =
    "correct it, or take the file again from where the model comes from";

std::string known_architectures() {
  std::string known;
  for (const FamilyReader& reader : family_readers()) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", reader.architecture);
  }
  return known;
}

/// Of the class itself, of its base model ("LlamaModel": the weights will tell whether there is a
/// head) or of the name that early conversions of LLaMA gave it.
bool is_of(const FamilyReader& reader, std::string_view architecture) {
  constexpr std::string_view kSuffix = "ForCausalLM";
  const std::string_view stem =
      reader.architecture.substr(0, reader.architecture.size() - kSuffix.size());
  const bool base = architecture.starts_with(stem) && architecture.substr(stem.size()) == "Model";
  const bool early = reader.family == Family::llama && architecture == "LLaMAForCausalLM";
  return architecture == reader.architecture || base || early;
}

/// transformers goes by "model_type"; "architectures" says besides what was saved.
const FamilyReader& find_reader(const JsonObject& json) {
  const std::string type = json.string_or("model_type", "");
  const auto readers = family_readers();
  const auto by_type = std::find_if(readers.begin(), readers.end(),
                                    [&](const auto& row) { return name(row.family) == type; });
  if (!json.has(kArchitectures)) {
    if (by_type != readers.end()) return *by_type;
    json.fail(type.empty() ? kArchitectures : "model_type",
              type.empty() ? "is missing, and so is model_type"
                           : fmt::format("\"{}\" is not supported", type),
              "use a model of one of these: " + known_architectures());
  }
  const std::vector<std::string> architectures = json.strings(kArchitectures);
  if (architectures.empty()) json.fail(kArchitectures, "is an empty list");
  const std::string& architecture = architectures.front();
  const auto by_name = std::find_if(readers.begin(), readers.end(),
                                    [&](const auto& row) { return is_of(row, architecture); });
  if (by_name == readers.end()) {
    json.fail(kArchitectures, fmt::format("\"{}\" is not supported", architecture),
              "use a model of one of these: " + known_architectures());
  }
  if (by_type != readers.end() && by_type != by_name) {
    json.fail(kArchitectures,
              fmt::format("\"{}\" is of another family than model_type \"{}\"", architecture, type),
              "correct the one that is wrong");
  }
  return *by_name;
}

/// "dtype", or "torch_dtype" as it was called before; only a hint ("auto" is one too): the tensors
/// have the last word.
DType read_dtype(const JsonObject& json) {
  const nlohmann::json& hint = json.raw(json.has("dtype") ? "dtype" : "torch_dtype");
  std::string text = hint.is_string() ? hint.get<std::string>() : "";
  constexpr std::string_view kPrefix = "torch.";
  if (text.starts_with(kPrefix)) text = text.substr(kPrefix.size());
  if (text == "bfloat16") return DType::bf16;
  if (text == "float16" || text == "half") return DType::f16;
  return DType::f32;
}

/// Ids that are not of the vocabulary are never met, as in transformers. But an id beyond it is a
/// sign of a file that goes with another model, and text would not end.
void check_ids(const JsonObject& json, ModelConfig& config) {
  std::erase_if(config.eos_ids, [](std::int32_t id) { return id < 0; });
  for (const std::int32_t id : config.eos_ids) {
    if (id >= config.vocab) {
      json.fail("eos_token_id",
                fmt::format("{} is not below vocab_size ({}) of config.json", id, config.vocab),
                "take config.json and generation_config.json of one and the same model, or correct "
                "the id");
    }
  }
  // The tokenizer's files say how texts begin; the model has no need of this id.
  if (config.bos_id && (*config.bos_id < 0 || *config.bos_id >= config.vocab)) {
    config.bos_id.reset();
  }
}

}  // namespace

std::string_view name(Family family) {
  switch (family) {
    case Family::llama:
      return "llama";
    case Family::mistral:
      return "mistral";
    case Family::qwen2:
      return "qwen2";
    case Family::qwen3:
      return "qwen3";
    case Family::opt:
      return "opt";
  }
  return "unknown";
}

ModelConfig ModelConfig::load(const fs::path& dir_or_file) {
  std::error_code error;
  const bool is_dir = fs::is_directory(dir_or_file, error);
  const fs::path file = is_dir ? dir_or_file / "config.json" : dir_or_file;
  if (!fs::exists(file, error)) {
    if (error && error != std::errc::no_such_file_or_directory) {
      throw Error(ErrorCode::input,
                  fmt::format("{}: cannot be read: {}", file.string(), error.message()),
                  "check --model and the permissions of its folders");
    }
    throw Error(ErrorCode::input, fmt::format("{}: no such file", file.string()),
                "give the directory of a Hugging Face checkpoint (config.json, *.safetensors, "
                "tokenizer.json)");
  }
  const JsonObject json = JsonObject::load(file).advising(kCorrect);
  const FamilyReader& reader = find_reader(json);
  if (json.has("quantization_config")) {
    json.fail("quantization_config", "is there: quantized checkpoints are not supported",
              "use the checkpoint in bf16, f16 or f32");
  }

  ModelConfig config;
  config.family = reader.family;
  config.architecture = reader.architecture;
  config.dtype = read_dtype(json);
  reader.read(json, config);
  check_ids(json, config);
  const fs::path generation = file.parent_path() / "generation_config.json";
  // A link that leads nowhere is there, and refused.
  if (fs::exists(fs::symlink_status(generation, error))) {
    const JsonObject generation_json = JsonObject::load(generation).advising(kCorrect);
    add_eos_ids(generation_json, config);
    check_ids(generation_json, config);
  }
  return config;
}

}  // namespace spd
