#include "model/checkpoint/checkpoint.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string_view>

#include "kernels/device/error.h"
#include "model/checkpoint/weight_files.h"
#include "model/json_object.h"

namespace spd {
namespace {

namespace fs = std::filesystem;

/// What cannot be looked at is not there: no exception of another kind than ours.
bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

constexpr std::string_view kBase = "model.";  // what transformers calls the base model

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

/// A shard lies beside its index: anything but a plain file name is refused.
void check_shard_name(const JsonObject& index, const std::string& tensor,
                      const std::string& shard) {
  const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                     shard.find('/') == std::string::npos && shard.find('\0') == std::string::npos;
  if (!plain) {
    index.fail("weight_map." + tensor,
               fmt::format("must be the name of a file beside the index, found \"{}\"", shard));
  }
}

}  // namespace

Checkpoint Checkpoint::open(const fs::path& dir) {
  const WeightFiles found = find_weight_files(dir);
  Checkpoint result;
  result.dir_ = dir;
  result.notes_ = found.notes;
  if (!found.index.empty()) result.open_shards(found.index);
  for (const fs::path& file : found.files) result.add_file(file);
  return result;
}

void Checkpoint::add_file(const fs::path& file) {
  files_.emplace_back(file);
  for (const std::string& name : files_.back().names()) {
    const auto [place, added] = file_of_.emplace(name, files_.size() - 1);
    if (!added) {
      throw Error(
          ErrorCode::input,
          fmt::format("{}: tensor \"{}\" is in {} too, and no index says which counts",
                      file.string(), name, files_[place->second].path().filename().string()),
          "download the shards and their index again, all of one version");
    }
  }
}

void Checkpoint::open_shards(const fs::path& index_file) {
  const JsonObject index =
      JsonObject::load(index_file).advising("download the index and its shards again");
  const JsonObject map = index.object("weight_map");
  if (map.value().empty()) index.fail("weight_map", "is empty");
  std::map<std::string, std::size_t> file_of_shard;
  for (const auto& [tensor, unused] : map.value().items()) {
    const std::string shard = map.string(tensor);
    check_shard_name(index, tensor, shard);
    auto found = file_of_shard.find(shard);
    if (found == file_of_shard.end()) {
      const fs::path file = index_file.parent_path() / shard;
      if (!is_there(file)) {
        throw Error(ErrorCode::input,
                    fmt::format("{}: no such file, but {} says that tensor \"{}\" is there",
                                file.string(), index_file.filename().string(), tensor),
                    "download the missing shard");
      }
      files_.emplace_back(file);
      found = file_of_shard.emplace(shard, files_.size() - 1).first;
    }
    const bool holds = files_[found->second].contains(tensor);
    (holds ? file_of_ : promised_)[tensor] = found->second;
  }
  // As in transformers, what the index does not list is there all the same.
  for (std::size_t i = 0; i < files_.size(); ++i) {
    for (const std::string& name : files_[i].names()) file_of_.emplace(name, i);
  }
}

std::optional<std::string> Checkpoint::stored_name(const std::string& name) const {
  if (file_of_.contains(name)) return name;
  if (name.starts_with(kBase) && file_of_.contains(name.substr(kBase.size()))) {
    return name.substr(kBase.size());
  }
  std::string longer = std::string(kBase) + name;
  if (file_of_.contains(longer)) return longer;
  return std::nullopt;
}

bool Checkpoint::is_usable(const std::string& name) const {
  const auto stored = stored_name(name);
  return stored && files_[file_of_.at(*stored)].is_usable(*stored);
}

const TensorEntry& Checkpoint::at(const std::string& name) const {
  if (const auto stored = stored_name(name)) return files_[file_of_.at(*stored)].at(*stored);
  if (const auto promised = promised_.find(name); promised != promised_.end()) {
    throw Error(ErrorCode::input,
                fmt::format("{}: no tensor \"{}\", but the index says that it is there",
                            files_[promised->second].path().string(), name),
                "download the shards and their index again, all of one version");
  }
  throw Error(ErrorCode::input, fmt::format("{}: no tensor \"{}\"", dir_.string(), name),
              "check that config.json and the weights are of the same model");
}

const TensorEntry& Checkpoint::at(const std::string& name,
                                  const std::vector<std::int64_t>& shape) const {
  const TensorEntry& entry = at(name);
  if (entry.shape != shape) {
    throw Error(ErrorCode::input,
                fmt::format("{}: tensor \"{}\" has shape {}, config.json wants {}",
                            files_[file_of_.at(*stored_name(name))].path().string(), name,
                            shape_text(entry.shape), shape_text(shape)),
                "check that config.json and the weights are of the same model");
  }
  return entry;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> result;
  result.reserve(file_of_.size());
  for (const auto& [name, file] : file_of_) result.push_back(name);
  return result;
}

void Checkpoint::check_unchanged() const {
  for (const SafetensorsFile& file : files_) file.check_unchanged();
}

void Checkpoint::release_pages(const TensorEntry& entry) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<std::uintptr_t>(entry.data);
  const std::uintptr_t begin = (address + page - 1) / page * page;
  const std::uintptr_t end = (address + entry.bytes) / page * page;
  // Only whole pages: those at the edges hold parts of other tensors. A refusal costs memory, not
  // correctness.
  if (end > begin) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace spd
