#include "model/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kernels/device/error.h"

namespace spd {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kLengthBytes = 8;

const char* stored_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "F32";
    case DType::bf16:
      return "BF16";
    case DType::f16:
      return "F16";
    case DType::i8:
      break;
  }
  throw Error(ErrorCode::internal, fmt::format("no tensors of {} in files", name(dtype)));
}

std::size_t elements(const TensorToWrite& tensor) {
  return static_cast<std::size_t>(std::accumulate(tensor.shape.begin(), tensor.shape.end(),
                                                  std::int64_t{1}, std::multiplies<>()));
}

}  // namespace

void write_safetensors(const std::filesystem::path& file,
                       const std::map<std::string, std::string>& metadata,
                       const std::vector<TensorToWrite>& tensors) {
  // Wide elements first, so that every tensor is aligned to its own.
  std::vector<const TensorToWrite*> ordered;
  for (const TensorToWrite& tensor : tensors) ordered.push_back(&tensor);
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const TensorToWrite* a, const TensorToWrite* b) {
                     return size_of(a->dtype) > size_of(b->dtype);
                   });
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const TensorToWrite* tensor : ordered) {
    const std::size_t end = offset + elements(*tensor) * size_of(tensor->dtype);
    header[tensor->name] = {{"dtype", stored_name(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  const std::size_t used = (kLengthBytes + text.size()) % kAlignment;
  if (used != 0) text.append(kAlignment - used, ' ');

  const std::filesystem::path partial = file.string() + ".part";
  std::ofstream stream(partial, std::ios::binary);
  char length[kLengthBytes];
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  }
  stream.write(length, kLengthBytes);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  std::vector<std::byte> converted;
  for (const TensorToWrite* tensor : ordered) {
    const std::size_t count = elements(*tensor);
    converted.resize(count * size_of(tensor->dtype));
    convert(tensor->values, DType::f32, converted.data(), tensor->dtype, count);
    stream.write(reinterpret_cast<const char*>(converted.data()),
                 static_cast<std::streamsize>(converted.size()));
  }
  stream.close();
  std::error_code error;
  if (stream) std::filesystem::rename(partial, file, error);
  if (!stream || error) {
    throw Error(ErrorCode::system, fmt::format("{}: cannot be written", file.string()),
                "check that the folder exists and has space");
  }
}

}  // namespace spd
