// The weight files of a model folder: which of its files hold weights.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace spd {

struct WeightFiles {
  std::filesystem::path index;               ///< names the files; empty where none is needed
  std::vector<std::filesystem::path> files;  ///< empty where there is an index
  std::vector<std::string> notes;            ///< what looks odd, for people
};

/// In the order of transformers: model.safetensors, then model.safetensors.index.json. Beyond it, a
/// complete set model-00001-of-N.safetensors without an index. Throws input Error that names what
/// is there instead and what to do about it.
WeightFiles find_weight_files(const std::filesystem::path& dir);

}  // namespace spd
