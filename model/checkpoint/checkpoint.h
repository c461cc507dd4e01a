// A Hugging Face model directory's weights, in one file or in shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/checkpoint/safetensors.h"

namespace spd {

/// Names are those of transformers' models. As there, a checkpoint may leave out the "model." that
/// names begin with (weights saved from the base model), or put one more in front.
class Checkpoint {
 public:
  /// Opens the files that find_weight_files says. Throws input Error naming what is missing or
  /// contradictory (e.g. a shard that is not there). Entries of an index whose tensors are not in
  /// their files are refused when they are asked for.
  static Checkpoint open(const std::filesystem::path& dir);

  bool contains(const std::string& name) const { return stored_name(name).has_value(); }
  /// What the files call the tensor; none where there is no such tensor.
  std::optional<std::string> stored_name(const std::string& name) const;
  /// Throws input Error naming the directory where there is no such tensor.
  const TensorEntry& at(const std::string& name) const;
  /// The same, and throws input Error (file, tensor, both shapes) unless it has this shape.
  const TensorEntry& at(const std::string& name, const std::vector<std::int64_t>& shape) const;
  /// Whether `at` gives it: it is there and of a type that we read.
  bool is_usable(const std::string& name) const;
  /// All that the files hold, as they call it, in order.
  std::vector<std::string> names() const;

  const std::filesystem::path& dir() const { return dir_; }
  /// What looked odd when it was opened, for people.
  const std::vector<std::string>& notes() const { return notes_; }
  /// Throws input Error where a file was written to since it was opened (see MappedFile).
  void check_unchanged() const;

  /// Tells the kernel that the tensor's pages are no longer needed, so that they do not count as
  /// resident memory of this rank. The data stay readable.
  static void release_pages(const TensorEntry& entry);

 private:
  Checkpoint() = default;
  void open_shards(const std::filesystem::path& index_file);
  void add_file(const std::filesystem::path& file);

  std::filesystem::path dir_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> file_of_;
  std::map<std::string, std::size_t> promised_;  // by an index, of a file that does not hold it
  std::vector<std::string> notes_;
};

}  // namespace spd
