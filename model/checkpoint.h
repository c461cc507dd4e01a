// A Hugging Face model directory's weights: model.safetensors, or shards with an index.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model/safetensors.h"

namespace spd {

class Checkpoint {
 public:
  /// Opens DIR/model.safetensors.index.json and the files it names, or DIR/model.safetensors.
  /// Throws input Error naming what is missing or contradictory (e.g. a shard that is not there).
  static Checkpoint open(const std::filesystem::path& dir);

  bool contains(const std::string& name) const;
  /// Throws input Error naming the directory where there is no such tensor.
  const TensorEntry& at(const std::string& name) const;
  /// The same, and throws input Error (file, tensor, both shapes) unless it has this shape.
  const TensorEntry& at(const std::string& name, const std::vector<std::int64_t>& shape) const;
  std::vector<std::string> names() const;

  /// Tells the kernel that the tensor's pages are no longer needed, so that they do not count as
  /// resident memory of this rank. The data stay readable.
  static void release_pages(const TensorEntry& entry);

 private:
  Checkpoint() = default;
  void open_shards(const std::filesystem::path& index_file);

  std::filesystem::path dir_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> file_of_;
};

}  // namespace spd
