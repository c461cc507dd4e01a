// Writes .safetensors files (https://huggingface.co/docs/safetensors).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "kernels/device/dtype.h"

namespace spd {

/// A tensor to be written; the values are converted to `dtype` on the way.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  const float* values = nullptr;  ///< [product of shape], not owned
};

/// Writes the file whole or not at all (a partial file beside it is renamed at the end). The header
/// is padded so that data begin at a multiple of 64 bytes. Throws system Error naming the file.
void write_safetensors(const std::filesystem::path& file,
                       const std::map<std::string, std::string>& metadata,
                       const std::vector<TensorToWrite>& tensors);

}  // namespace spd
