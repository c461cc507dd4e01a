#include "model/checkpoint/safetensors_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kernels/device/error.h"
#include "model/hash.h"

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

std::string write_safetensors(FileWriter& file, const std::map<std::string, std::string>& metadata,
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
  std::string text =
      header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);  // names of files
  const std::size_t used = (kLengthBytes + text.size()) % kAlignment;
  if (used != 0) text.append(kAlignment - used, ' ');

  Fnv1a hash;
  const auto write = [&](std::string_view bytes) {
    hash.add(bytes);
    file.write(bytes);
  };
  char length[kLengthBytes];
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  }
  write({length, kLengthBytes});
  write(text);
  std::vector<std::byte> converted;
  for (const TensorToWrite* tensor : ordered) {
    const std::size_t count = elements(*tensor);
    converted.resize(count * size_of(tensor->dtype));
    convert(tensor->values, DType::f32, converted.data(), tensor->dtype, count);
    write({reinterpret_cast<const char*>(converted.data()), converted.size()});
  }
  return hash.hex();
}

}  // namespace spd
