// One .safetensors file, mapped read-only and validated before anything is read from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/dtype.h"
#include "model/checkpoint/mapped_file.h"

namespace spd {

/// A tensor in a mapped file. `data` lives as long as the file that it came from.
struct TensorEntry {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
};

/// Format: 8-byte little-endian header length, JSON header {name: {dtype, shape, data_offsets}},
/// then the data (https://huggingface.co/docs/safetensors). Move-only.
class SafetensorsFile {
 public:
  /// Maps and checks the whole header: lengths within the file, offsets in range, in order, without
  /// holes or overlap, sizes equal to shape times dtype. Throws input Error naming file and tensor.
  /// Tensors of types other than F32, F16, BF16 are listed but asking for one throws. `remedy`
  /// closes messages about files that are damaged; empty: "download or convert the checkpoint
  /// again".
  explicit SafetensorsFile(const std::filesystem::path& path, const std::string& remedy = "");
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;
  ~SafetensorsFile();

  const std::filesystem::path& path() const;
  std::vector<std::string> names() const;
  /// The header's "__metadata__".
  const std::map<std::string, std::string>& metadata() const;
  bool contains(const std::string& name) const;
  /// Throws input Error naming the file where there is no such tensor or its type is unsupported.
  const TensorEntry& at(const std::string& name) const;
  /// Whether `at` would give it.
  bool is_usable(const std::string& name) const;
  /// See MappedFile.
  void check_unchanged() const;

 private:
  struct Content;
  std::unique_ptr<Content> content_;
};

}  // namespace spd
