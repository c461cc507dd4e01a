#include "model/checkpoint/weight_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "kernels/device/error.h"
#include "model/checkpoint/tensor_names.h"

namespace spd {
namespace {

constexpr std::size_t kMostNamed = 3;
constexpr const char* kSameModel = "check that config.json and the weights are of the same model";

[[noreturn]] void refuse(const Checkpoint& checkpoint, const std::string& problem,
                         const std::string& remedy = kSameModel) {
  throw Error(ErrorCode::input, fmt::format("{}: {}", checkpoint.dir().string(), problem), remedy);
}

std::string named(const std::vector<std::string>& names) {
  const std::size_t count = std::min(names.size(), kMostNamed);
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", names[i]);
  }
  return names.size() > count ? text + ", ..." : text;
}

/// "model." or "model.decoder.": what the names of all that lies in the decoder begin with.
std::string decoder_prefix(const ModelConfig& config) {
  const std::string block_prefix = tensor_names(config).block_prefix;
  return block_prefix.substr(0, block_prefix.rfind('.') + 1);
}

/// The name as transformers' model has it: files of the base model alone leave its name out.
std::string in_full(const ModelConfig& config, const std::string& name) {
  const std::string base = "model.";
  const TensorNames modules = tensor_names(config);
  for (const std::string& module : {decoder_prefix(config), modules.block_prefix + ".",
                                    modules.embedding + ".", modules.final_norm + "."}) {
    if (module != base && name.starts_with(module.substr(base.size()))) return base + name;
  }
  return name.starts_with(base + base) ? name.substr(base.size()) : name;
}

/// The number of the block that a tensor belongs to.
std::optional<std::int64_t> block_of(const ModelConfig& config, const std::string& full_name) {
  const std::string prefix = tensor_names(config).block_prefix + ".";
  if (!full_name.starts_with(prefix)) return std::nullopt;
  std::int64_t block = 0;
  const char* const begin = full_name.data() + prefix.size();
  const auto [end, error] = std::from_chars(begin, full_name.data() + full_name.size(), block);
  return error == std::errc() && *end == '.' ? std::optional(block) : std::nullopt;
}

std::int64_t stored_blocks(const ModelConfig& config, const Checkpoint& checkpoint) {
  std::int64_t most = 0;
  for (const std::string& name : checkpoint.names()) {
    const auto block = block_of(config, in_full(config, name));
    if (block) most = std::max(most, *block + 1);
  }
  return most;
}

/// Tables that older versions of transformers stored and that follow from the configuration.
bool is_known_buffer(const std::string& name) {
  static constexpr std::array<std::string_view, 7> kEnds{
      "rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached",
      "masked_bias",         "decoder.version",       "position_ids",
      "causal_mask"};
  return std::any_of(kEnds.begin(), kEnds.end(),
                     [&](std::string_view end) { return name.ends_with(end); });
}

/// Some converters write biases of zeros.
bool is_zero_bias(const Checkpoint& checkpoint, const std::string& name) {
  if (!name.ends_with(".bias") || !checkpoint.is_usable(name)) return false;
  const TensorEntry& entry = checkpoint.at(name);
  return std::all_of(entry.data, entry.data + entry.bytes,
                     [](std::byte byte) { return byte == std::byte{0}; });
}

/// Whether what it belongs to is computed here, so that leaving it out makes a difference.
bool is_of_the_decoder(const ModelConfig& config, const std::string& full_name) {
  return full_name.starts_with(decoder_prefix(config)) ||
         full_name.starts_with(tensor_names(config).lm_head + ".");
}

/// The names of all tensors that `config` needs, as they are stored. Throws for the first that is
/// missing or misshapen.
std::unordered_set<std::string> check_wanted(const ModelConfig& config,
                                             const Checkpoint& checkpoint) {
  std::unordered_set<std::string> used;
  const auto check = [&](const WantedTensor& wanted) {
    checkpoint.at(wanted.name, wanted.shape);
    used.insert(*checkpoint.stored_name(wanted.name));
  };
  // The last block first: that it is there bounds the number of the others.
  for (std::int64_t block = config.blocks - 1; block >= 0; --block) {
    const std::vector<WantedTensor> tensors = block_tensors(config, block);
    if (block == config.blocks - 1 && !checkpoint.contains(tensors.front().name)) {
      const std::int64_t stored = stored_blocks(config, checkpoint);
      if (stored > 0 && stored < config.blocks) {
        refuse(checkpoint, fmt::format("the weights hold {} blocks, config.json says {} "
                                       "(num_hidden_layers)",
                                       stored, config.blocks));
      }
      if (stored == 0) {
        refuse(checkpoint, fmt::format("no tensor \"{}\"; the weights hold {} tensors, e.g. {}",
                                       tensors.front().name, checkpoint.names().size(),
                                       named(checkpoint.names())));
      }
    }
    for (const WantedTensor& wanted : tensors) check(wanted);
  }
  const TensorNames names = tensor_names(config);
  const std::string embedding = names.embedding + ".weight";
  const std::string projection = names.lm_head + ".weight";
  if (!config.tied_embeddings && !checkpoint.contains(projection)) {
    refuse(checkpoint,
           fmt::format("no tensor \"{}\": the weights have no head, and config.json does not say "
                       "that it is the embedding",
                       projection),
           "use the checkpoint of the language model (...ForCausalLM), not of its base model; or "
           "set tie_word_embeddings, if the two are one");
  }
  for (const WantedTensor& wanted : outer_tensors(config)) {
    const bool may_miss =
        config.tied_embeddings && ((wanted.name == projection && checkpoint.contains(embedding)) ||
                                   (wanted.name == embedding && checkpoint.contains(projection)));
    if (!may_miss || checkpoint.contains(wanted.name)) check(wanted);
  }
  return used;
}

/// Whether some rows differ: enough to say so, as what is computed does not depend on it.
bool seem_to_differ(const TensorEntry& one, const TensorEntry& other) {
  constexpr std::int64_t kRows = 16;
  if (one.dtype != other.dtype || one.bytes != other.bytes) return true;
  const auto row_bytes = one.bytes / static_cast<std::size_t>(one.shape.front());
  for (std::int64_t i = 0; i < kRows; ++i) {
    const std::size_t at = static_cast<std::size_t>(i * one.shape.front() / kRows) * row_bytes;
    if (std::memcmp(one.data + at, other.data + at, row_bytes) != 0) return true;
  }
  return false;
}

std::vector<std::string> check_unused(const ModelConfig& config, const Checkpoint& checkpoint,
                                      std::int64_t blocks_in_file,
                                      const std::unordered_set<std::string>& used) {
  std::vector<std::string> passed_over;
  std::vector<std::string> needed;  // by another model
  for (const std::string& name : checkpoint.names()) {
    if (used.contains(name) || is_known_buffer(name)) continue;
    const std::string full_name = in_full(config, name);
    const auto block = block_of(config, full_name);
    if (block && *block >= config.blocks && *block < blocks_in_file) continue;  // cut by the user
    if (block && *block >= blocks_in_file) {
      refuse(checkpoint, fmt::format("the weights hold {} blocks, config.json says {} "
                                     "(num_hidden_layers)",
                                     stored_blocks(config, checkpoint), blocks_in_file));
    }
    const bool matters = is_of_the_decoder(config, full_name) && !is_zero_bias(checkpoint, name);
    (matters ? needed : passed_over).push_back(name);
  }
  if (!needed.empty()) {
    refuse(checkpoint,
           fmt::format("the model as config.json describes it has no use for {} of the tensors "
                       "that are there: {}; without them it would be another model",
                       needed.size(), named(needed)),
           "check that config.json and the weights are of the same model (model_type, "
           "attention_bias, mlp_bias)");
  }
  return passed_over;
}

double elements(const std::vector<WantedTensor>& tensors) {
  double sum = 0.0;
  for (const WantedTensor& tensor : tensors) {
    double product = 1.0;
    for (const std::int64_t size : tensor.shape) product *= static_cast<double>(size);
    sum += product;
  }
  return sum;
}

}  // namespace

CheckedWeights check_weights(const ModelConfig& config, const Checkpoint& checkpoint,
                             std::int64_t blocks_in_file) {
  CheckedWeights result;
  const auto used = check_wanted(config, checkpoint);
  const auto unused = check_unused(config, checkpoint, blocks_in_file, used);
  std::vector<std::string>& notes = result.notes;
  notes = checkpoint.notes();
  if (!unused.empty()) {
    notes.push_back(fmt::format("{}: {} tensor{} nothing uses: {}", checkpoint.dir().string(),
                                unused.size(), unused.size() == 1 ? " that" : "s that",
                                named(unused)));
  }
  const TensorNames names = tensor_names(config);
  const std::string embedding = names.embedding + ".weight";
  const std::string projection = names.lm_head + ".weight";
  if (config.tied_embeddings && used.contains(checkpoint.stored_name(projection).value_or("")) &&
      checkpoint.contains(embedding) &&
      seem_to_differ(checkpoint.at(embedding), checkpoint.at(projection))) {
    notes.push_back(
        fmt::format("{}: config.json says that \"{}\" is the embedding (tie_word_embeddings), but "
                    "it is stored and differs: it is used, as in transformers",
                    checkpoint.dir().string(), projection));
  }
  const bool both = checkpoint.contains(embedding) && checkpoint.contains(projection);
  for (const std::string& name : used) {
    // The embedding stays in its file, from which the rows of a step are read.
    if (!both || name != checkpoint.stored_name(embedding)) {
      result.bytes += static_cast<double>(checkpoint.at(name).bytes);
    }
  }
  return result;
}

VocabularyTensors vocabulary_tensors(const ModelConfig& config, const WeightSource& source) {
  const TensorNames names = tensor_names(config);
  const std::string embedding = names.embedding + ".weight";
  const std::string projection = names.lm_head + ".weight";
  if (!config.tied_embeddings) return {embedding, projection};
  if (!source.contains(projection)) return {embedding, embedding};
  return {source.contains(embedding) ? embedding : projection, projection};
}

double weight_bytes(const ModelConfig& config) {
  const double outer =
      elements(outer_tensors(config)) -
      (config.tied_embeddings ? embedding_bytes(config) / static_cast<double>(size_of(config.dtype))
                              : 0.0);
  return (static_cast<double>(config.blocks) * elements(block_tensors(config, 0)) + outer) *
         static_cast<double>(size_of(config.dtype));
}

double embedding_bytes(const ModelConfig& config) {
  return static_cast<double>(config.vocab) * static_cast<double>(config.hidden) *
         static_cast<double>(size_of(config.dtype));
}

}  // namespace spd
