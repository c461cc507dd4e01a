#include "model/checkpoint/weight_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

#include "kernels/device/error.h"

namespace spd {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr std::size_t kMostNamed = 5;

bool is_there(const fs::path& path) {
  std::error_code ignored;  // what cannot be looked at is not there
  return fs::exists(path, ignored);
}

/// The names in a folder, in order. Throws where it cannot be looked into.
std::vector<std::string> names_in(const fs::path& dir) {
  std::error_code error;
  std::vector<std::string> names;
  for (auto entry = fs::directory_iterator(dir, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) {
    throw Error(ErrorCode::input,
                error == std::errc::no_such_file_or_directory
                    ? fmt::format("{}: no such directory", dir.string())
                    : fmt::format("{}: cannot be looked into: {}", dir.string(), error.message()),
                "check --model");
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct ShardName {
  int number = 0;
  int of = 0;
};

/// "model-00002-of-00005.safetensors".
std::optional<ShardName> shard_name(std::string_view name) {
  constexpr std::string_view kBegin = "model-";
  constexpr std::string_view kBetween = "-of-";
  constexpr std::string_view kEnd = ".safetensors";
  if (!name.starts_with(kBegin) || !name.ends_with(kEnd)) return std::nullopt;
  const char* const end = name.data() + name.size() - kEnd.size();
  ShardName shard;
  const auto number = std::from_chars(name.data() + kBegin.size(), end, shard.number);
  if (number.ec != std::errc() ||
      !std::string_view(number.ptr, end - number.ptr).starts_with(kBetween)) {
    return std::nullopt;
  }
  const auto of = std::from_chars(number.ptr + kBetween.size(), end, shard.of);
  if (of.ec != std::errc() || of.ptr != end || shard.number < 1 || shard.number > shard.of) {
    return std::nullopt;
  }
  return shard;
}

/// The files of a set of shards that nothing but their names holds together; none where there are
/// no shards.
WeightFiles shards_without_index(const fs::path& dir, const std::vector<std::string>& names) {
  WeightFiles result;
  int of = 0;
  std::vector<std::string> found;
  bool one_set = true;
  for (const std::string& name : names) {
    const auto shard = shard_name(name);
    if (!shard) continue;
    one_set = one_set && (of == 0 || shard->of == of);
    of = shard->of;
    found.push_back(name);
    result.files.push_back(dir / name);
  }
  if (found.empty()) return {};
  if (!one_set || std::ssize(found) != of) {
    const std::size_t named = std::min(found.size(), kMostNamed);
    throw Error(ErrorCode::input,
                fmt::format("{}: {} is missing, and of the shards {} {} there: {}{}", dir.string(),
                            kIndex, one_set ? fmt::format("(of {})", of) : "of several sets",
                            found.size() == 1 ? "one is" : fmt::format("{} are", found.size()),
                            fmt::join(found.begin(), found.begin() + named, ", "),
                            found.size() > named ? ", ..." : ""),
                "download the other shards and the index");
  }
  if (of > 1) {
    result.notes.push_back(fmt::format("{}: {} is missing; all {} shards are there and are used",
                                       dir.string(), kIndex, of));
  }
  return result;
}

/// What a file of another format is, and what to do about it.
struct OtherFormat {
  std::string_view begin;
  std::string_view end;
  const char* remedy;
};
constexpr const char* kConvert =
    "convert it: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR) writes safetensors";
constexpr const char* kOfficial =
    "it is in its publisher's own format: take the checkpoint as converted for transformers "
    "(config.json and model*.safetensors)";
constexpr std::array kOtherFormats{
    OtherFormat{"adapter_model", "", "it is an adapter: merge it into its base model first"},
    OtherFormat{"consolidated", ".safetensors", kOfficial},
    OtherFormat{"consolidated", ".pth", kOfficial},
    OtherFormat{"", ".gguf",
                "GGUF is not read: take the checkpoint that it was made from, or convert it with "
                "transformers (from_pretrained(DIR, gguf_file=...), then save_pretrained)"},
    OtherFormat{"pytorch_model", ".bin", kConvert},
    OtherFormat{"pytorch_model", ".bin.index.json", kConvert},
    OtherFormat{"tf_model", ".h5", kConvert},
    OtherFormat{"flax_model", ".msgpack", kConvert},
    OtherFormat{"", ".pth", kConvert},
    OtherFormat{"", ".pt", kConvert},
    OtherFormat{"", ".safetensors",
                "if it holds the whole model, rename or link it to model.safetensors"},
};

[[noreturn]] void refuse_others(const fs::path& dir, const std::vector<std::string>& names) {
  std::string problem =
      fmt::format("{}: neither {} nor {} is there", dir.string(), kSingle, kIndex);
  const char* remedy =
      "download the weights, or convert them to safetensors (save_pretrained does)";
  std::vector<std::string> found;
  for (const std::string& name : names) {
    const auto* const row = std::find_if(
        kOtherFormats.begin(), kOtherFormats.end(),
        [&](const auto& one) { return name.starts_with(one.begin) && name.ends_with(one.end); });
    if (row == kOtherFormats.end()) continue;
    if (found.empty()) remedy = row->remedy;
    found.push_back(name);
  }
  if (!found.empty()) {
    const std::size_t named = std::min(found.size(), kMostNamed);
    problem += fmt::format(", but {}{}", fmt::join(found.begin(), found.begin() + named, ", "),
                           found.size() > named ? ", ..." : "");
  }
  throw Error(ErrorCode::input, problem, remedy);
}

}  // namespace

WeightFiles find_weight_files(const fs::path& dir) {
  const std::vector<std::string> names = names_in(dir);
  for (const std::string& name : names) {
    if (name != kSingle && name != kIndex) continue;
    std::error_code error;
    if (fs::exists(dir / name, error)) continue;
    throw Error(ErrorCode::input,
                fmt::format("{}: is a link, and where it leads is nothing that can be read{}",
                            (dir / name).string(), error ? ": " + error.message() : ""),
                "copy the model folder with the files that it links to");
  }
  const bool has_index = is_there(dir / kIndex);
  WeightFiles result;
  if (is_there(dir / kSingle)) {
    result.files.push_back(dir / kSingle);
    if (has_index) {
      result.notes.push_back(
          fmt::format("{}: {} and {} are there; the former is used, as in transformers: remove "
                      "the one that is old",
                      dir.string(), kSingle, kIndex));
    }
    return result;
  }
  if (has_index) {
    result.index = dir / kIndex;
    return result;
  }
  result = shards_without_index(dir, names);
  if (result.files.empty()) refuse_others(dir, names);
  return result;
}

}  // namespace spd
