#include "model/checkpoint.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "kernels/device/error.h"
#include "model/json_object.h"

namespace spd {
namespace {

namespace fs = std::filesystem;

/// What cannot be looked at is not there: no exception of another kind than ours.
bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

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
  Checkpoint result;
  result.dir_ = dir;
  if (!is_there(dir)) {
    throw Error(ErrorCode::input, fmt::format("{}: no such directory", dir.string()),
                "check --model");
  }
  if (is_there(dir / kIndex)) {
    result.open_shards(dir / kIndex);
    return result;
  }
  if (!is_there(dir / kSingle)) {
    throw Error(ErrorCode::input,
                fmt::format("{}: neither {} nor {} is there", dir.string(), kSingle, kIndex),
                "download the weights, or convert them to safetensors (save_pretrained does)");
  }
  result.files_.emplace_back(dir / kSingle);
  for (const std::string& name : result.files_.front().names()) result.file_of_[name] = 0;
  return result;
}

void Checkpoint::open_shards(const fs::path& index_file) {
  const JsonObject index = JsonObject::load(index_file);
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
    if (!files_[found->second].contains(tensor)) {
      throw Error(ErrorCode::input,
                  fmt::format("{}: no tensor \"{}\", but {} says that it is there",
                              files_[found->second].path().string(), tensor,
                              index_file.filename().string()),
                  "download the shards and their index again, all of one version");
    }
    file_of_[tensor] = found->second;
  }
}

bool Checkpoint::contains(const std::string& name) const { return file_of_.contains(name); }

const TensorEntry& Checkpoint::at(const std::string& name) const {
  const auto found = file_of_.find(name);
  if (found == file_of_.end()) {
    throw Error(ErrorCode::input, fmt::format("{}: no tensor \"{}\"", dir_.string(), name),
                "check that config.json and the weights are of the same model");
  }
  return files_[found->second].at(name);
}

const TensorEntry& Checkpoint::at(const std::string& name,
                                  const std::vector<std::int64_t>& shape) const {
  const TensorEntry& entry = at(name);
  if (entry.shape != shape) {
    throw Error(ErrorCode::input,
                fmt::format("{}: tensor \"{}\" has shape {}, config.json wants {}",
                            files_[file_of_.at(name)].path().string(), name,
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
