#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/device/error.h"
#include "model/config_families.h"

namespace spd {
namespace {

namespace fs = std::filesystem;

const FamilyReader& find_reader(const JsonObject& json, const std::string& architecture) {
  std::string known;
  for (const FamilyReader& reader : family_readers()) {
    if (reader.architecture == architecture) return reader;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", reader.architecture);
  }
  json.fail("architectures", fmt::format("\"{}\" is not supported", architecture),
            "use a model of one of these: " + known);
}

/// "dtype", or "torch_dtype" as it was called before; only a hint, the tensors have the last word.
DType read_dtype(const JsonObject& json) {
  const std::string key = json.has("dtype") ? "dtype" : "torch_dtype";
  std::string text = json.string_or(key, "float32");
  constexpr std::string_view kPrefix = "torch.";
  if (text.starts_with(kPrefix)) text = text.substr(kPrefix.size());
  if (text == "float32") return DType::f32;
  if (text == "bfloat16") return DType::bf16;
  if (text == "float16") return DType::f16;
  json.fail(key,
            fmt::format("\"{}\" is not supported; supported: float32, bfloat16, float16", text));
}

/// Ids that are not of the vocabulary would never be met, or read out of bounds.
void check_ids(const JsonObject& json, const ModelConfig& config) {
  for (const std::int32_t id : config.eos_ids) {
    if (id >= config.vocab) {
      json.fail("eos_token_id", fmt::format("{} is not below vocab_size ({})", id, config.vocab));
    }
  }
  if (config.bos_id && *config.bos_id >= config.vocab) {
    json.fail("bos_token_id",
              fmt::format("{} is not below vocab_size ({})", *config.bos_id, config.vocab));
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
  std::error_code ignored;  // what cannot be looked at is not there
  const bool is_dir = fs::is_directory(dir_or_file, ignored);
  const fs::path file = is_dir ? dir_or_file / "config.json" : dir_or_file;
  if (!fs::exists(file, ignored)) {
    throw Error(ErrorCode::input, fmt::format("{}: no such file", file.string()),
                "give the directory of a Hugging Face checkpoint (config.json, *.safetensors, "
                "tokenizer.json)");
  }
  const JsonObject json = JsonObject::load(file);
  const std::vector<std::string> architectures = json.strings("architectures");
  if (architectures.empty()) json.fail("architectures", "is an empty list");
  if (json.has("quantization_config")) {
    json.fail("quantization_config", "is there: quantized checkpoints are not supported",
              "use the checkpoint in bf16, f16 or f32");
  }
  const FamilyReader& reader = find_reader(json, architectures.front());

  ModelConfig config;
  config.family = reader.family;
  config.architecture = architectures.front();
  config.dtype = read_dtype(json);
  reader.read(json, config);
  check_ids(json, config);
  const fs::path generation = file.parent_path() / "generation_config.json";
  if (fs::exists(generation, ignored)) {
    const JsonObject generation_json = JsonObject::load(generation);
    add_eos_ids(generation_json, config);
    check_ids(generation_json, config);
  }
  return config;
}

}  // namespace spd
