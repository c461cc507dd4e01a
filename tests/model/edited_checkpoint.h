// A fixture's checkpoint in a folder of its own, whose tensors and configuration a test changes.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/checkpoint/safetensors.h"
#include "tests/model/safetensors_text.h"
#include "tests/model/temp_dir.h"

namespace spd {

class EditedCheckpoint {
 public:
  struct Tensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::string bytes;
  };

  explicit EditedCheckpoint(const std::string& fixture) {
    const auto source = std::filesystem::path(SPD_FIXTURES) / "models" / fixture;
    std::ifstream(source / "config.json") >> config;
    const SafetensorsFile file(source / "model.safetensors");
    for (const std::string& name : file.names()) {
      const TensorEntry& entry = file.at(name);
      const char* dtype = entry.dtype == DType::f32    ? "F32"
                          : entry.dtype == DType::bf16 ? "BF16"
                                                       : "F16";
      tensors[name] = {dtype, entry.shape,
                       std::string(reinterpret_cast<const char*>(entry.data), entry.bytes)};
    }
  }

  std::map<std::string, Tensor> tensors;
  nlohmann::json config;

  /// Every name through `renamed`.
  void rename(const std::function<std::string(const std::string&)>& renamed) {
    std::map<std::string, Tensor> result;
    for (auto& [name, tensor] : tensors) result[renamed(name)] = std::move(tensor);
    tensors = std::move(result);
  }
  void add(const std::string& name, const std::vector<std::int64_t>& shape, float value) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    const std::vector<float> values(count, value);
    tensors[name] = {
        "F32", shape,
        std::string(reinterpret_cast<const char*>(values.data()), count * sizeof(float))};
  }

  /// Writes the configuration, and the tensors that `takes` says into one file.
  void write(const std::string& file, const std::function<bool(const std::string&)>& takes = {}) {
    dir_.write("config.json", config.dump());
    nlohmann::json header = nlohmann::json::object();
    std::string data;
    for (const auto& [name, tensor] : tensors) {
      if (takes && !takes(name)) continue;
      header[name] = {{"dtype", tensor.dtype},
                      {"shape", tensor.shape},
                      {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
      data += tensor.bytes;
    }
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    dir_.write(file, safetensors_text(text, data));
  }

  const TempDir& dir() const { return dir_; }
  const std::filesystem::path& path() const { return dir_.path(); }

 private:
  TempDir dir_;
};

}  // namespace spd
