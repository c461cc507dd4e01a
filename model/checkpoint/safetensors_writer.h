// A writer of .safetensors files (https://huggingface.co/docs/safetensors).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/device/dtype.h"
#include "kernels/device/file_writer.h"

namespace spd {

/// A tensor to be written; the values are converted to `dtype` on the way.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  const float* values = nullptr;  ///< [product of shape], not owned
};

/// Writes into `file`, which is left to the caller to commit. The header is padded so that data
/// begin at a multiple of 64 bytes. Returns the content's hash (see file_hash()). Throws system
/// Error naming the file.
std::string write_safetensors(FileWriter& file, const std::map<std::string, std::string>& metadata,
                              const std::vector<TensorToWrite>& tensors);

}  // namespace spd
