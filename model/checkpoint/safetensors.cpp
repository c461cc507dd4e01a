#include "model/checkpoint/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "kernels/device/error.h"
#include "model/input_file.h"
#include "model/json_text.h"

namespace spd {
namespace {

// The reference implementation's limit; a checkpoint of 100,000 tensors needs about a tenth.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kLengthBytes = 8;
// An object of objects with arrays: {"name": {"shape": [...]}}.
constexpr int kMaxDepth = 3;

/// A type that a file may hold; those without `type` are passed over.
struct StoredType {
  std::string_view name;
  std::uint64_t bits;
  std::optional<DType> type;
};
constexpr std::array kStoredTypes{
    StoredType{"F32", 32, DType::f32},          StoredType{"F16", 16, DType::f16},
    StoredType{"BF16", 16, DType::bf16},        StoredType{"BOOL", 8, std::nullopt},
    StoredType{"U8", 8, std::nullopt},          StoredType{"I8", 8, std::nullopt},
    StoredType{"F8_E5M2", 8, std::nullopt},     StoredType{"F8_E4M3", 8, std::nullopt},
    StoredType{"F8_E5M2FNUZ", 8, std::nullopt}, StoredType{"F8_E4M3FNUZ", 8, std::nullopt},
    StoredType{"F8_E8M0", 8, std::nullopt},     StoredType{"F4", 4, std::nullopt},
    StoredType{"F6_E2M3", 6, std::nullopt},     StoredType{"F6_E3M2", 6, std::nullopt},
    StoredType{"I16", 16, std::nullopt},        StoredType{"U16", 16, std::nullopt},
    StoredType{"I32", 32, std::nullopt},        StoredType{"U32", 32, std::nullopt},
    StoredType{"I64", 64, std::nullopt},        StoredType{"U64", 64, std::nullopt},
    StoredType{"F64", 64, std::nullopt},        StoredType{"C64", 64, std::nullopt},
};

/// A tensor as the header describes it; offsets from the first byte after the header.
struct Described {
  std::string name;
  const StoredType* type = nullptr;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// The file, as messages name it, and what to do about one that is damaged.
struct Source {
  std::string file;
  std::string remedy;
};

[[noreturn]] void fail(const Source& source, const std::string& problem) {
  throw Error(ErrorCode::input, fmt::format("{}: {}", source.file, problem), source.remedy);
}

/// Names come from the file: shown as JSON strings, so that control characters stay harmless.
std::string quoted(const std::string& name) {
  return nlohmann::json(name).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::optional<std::uint64_t> as_count(const nlohmann::json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

/// Parses one "name": {dtype, shape, data_offsets}, and checks it against itself.
Described describe(const Source& source, const std::string& name, const nlohmann::json& entry) {
  const auto bad = [&](const std::string& problem) {
    fail(source, fmt::format("tensor {}: {}", quoted(name), problem));
  };
  if (!entry.is_object()) bad("its description is not an object");
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!entry.contains(key)) bad(fmt::format("its description has no {}", key));
  }
  Described result{.name = name, .type = nullptr, .shape = {}, .begin = 0, .end = 0};

  const nlohmann::json& dtype = entry["dtype"];
  if (!dtype.is_string()) bad("dtype is not a string");
  const auto* type = std::find_if(kStoredTypes.begin(), kStoredTypes.end(), [&](const auto& row) {
    return row.name == dtype.get_ref<const std::string&>();
  });
  if (type == kStoredTypes.end()) bad(fmt::format("unknown dtype {}", quoted(dtype)));
  result.type = type;

  if (!entry["shape"].is_array()) bad("shape is not a list");
  std::uint64_t bits = type->bits;
  for (const nlohmann::json& dimension : entry["shape"]) {
    const auto count = as_count(dimension);
    if (!count || *count > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      bad(fmt::format("shape {} has an entry that is not a count", entry["shape"].dump()));
    }
    if (__builtin_mul_overflow(bits, *count, &bits)) {
      bad(fmt::format("shape {} is too large to be true", entry["shape"].dump()));
    }
    result.shape.push_back(static_cast<std::int64_t>(*count));
  }
  if (bits % 8 != 0) bad("its elements do not fill whole bytes");

  const nlohmann::json& offsets = entry["data_offsets"];
  const auto begin =
      offsets.is_array() && offsets.size() == 2 ? as_count(offsets[0]) : std::nullopt;
  const auto end = begin ? as_count(offsets[1]) : std::nullopt;
  if (!begin || !end) bad("data_offsets is not a pair of offsets");
  if (*end < *begin) bad(fmt::format("data_offsets [{}, {}] end before they begin", *begin, *end));
  if (*end - *begin != bits / 8) {
    bad(fmt::format("data_offsets [{}, {}] hold {} bytes, but {} of shape {} take {}", *begin, *end,
                    *end - *begin, type->name, entry["shape"].dump(), bits / 8));
  }
  result.begin = *begin;
  result.end = *end;
  return result;
}

/// The tensors lie one after another and fill the data exactly.
void check_layout(const Source& source, std::vector<Described>& tensors, std::uint64_t data_bytes) {
  std::sort(tensors.begin(), tensors.end(), [](const Described& a, const Described& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t filled = 0;
  for (const Described& tensor : tensors) {
    const auto bad = [&](const std::string& problem) {
      fail(source, fmt::format("tensor {}: {}", quoted(tensor.name), problem));
    };
    if (tensor.end > data_bytes) {
      bad(
          fmt::format("data_offsets [{}, {}] reach beyond the file, which holds {} bytes of data; "
                      "it may be truncated",
                      tensor.begin, tensor.end, data_bytes));
    }
    if (tensor.begin < filled) bad(fmt::format("overlaps what ends at byte {}", filled));
    if (tensor.begin > filled) {
      bad(fmt::format("begins at byte {}, after a hole from byte {}", tensor.begin, filled));
    }
    filled = tensor.end;
  }
  if (filled != data_bytes) {
    fail(source, fmt::format("{} bytes follow the last tensor", data_bytes - filled));
  }
}

void check_metadata(const Source& source, const nlohmann::json& metadata) {
  const bool strings = metadata.is_object() &&
                       std::all_of(metadata.begin(), metadata.end(),
                                   [](const nlohmann::json& value) { return value.is_string(); });
  if (!strings) fail(source, "__metadata__ is not an object of strings");
}

/// The bytes of the header, once its length proves possible.
std::string_view header_of(const Source& source, const MappedFile& file) {
  const std::string_view all(reinterpret_cast<const char*>(file.data()), file.bytes());
  if (is_lfs_pointer(all)) {
    throw Error(ErrorCode::input,
                fmt::format("{}: is a Git LFS pointer, not the file it stands for", source.file),
                "fetch the content: git lfs pull, or download the file itself");
  }
  if (all.size() < kLengthBytes) {
    fail(source, fmt::format("holds {} bytes, not even a header's length", all.size()));
  }
  std::uint64_t header_bytes = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) {
    header_bytes = (header_bytes << 8) | static_cast<unsigned char>(all[i]);
  }
  if (header_bytes > kMaxHeaderBytes) {
    fail(source,
         fmt::format("claims a header of {} bytes, above the limit of {}; not a safetensors file?",
                     header_bytes, kMaxHeaderBytes));
  }
  if (header_bytes > all.size() - kLengthBytes) {
    fail(source, fmt::format("truncated: a header of {} bytes, of which {} are there", header_bytes,
                             all.size() - kLengthBytes));
  }
  return all.substr(kLengthBytes, header_bytes);
}

}  // namespace

struct SafetensorsFile::Content {
  struct Tensor {
    TensorEntry entry;
    std::string unusable;  // why it cannot be asked for, empty where it can
  };

  MappedFile file;
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;

  explicit Content(const std::filesystem::path& path) : file(path) {}
  void read_header(const Source& source);
  void add(const Described& described, const std::byte* data);
};

void SafetensorsFile::Content::read_header(const Source& source) {
  const std::string_view text = header_of(source, file);
  const nlohmann::json header =
      parse_json(text, source.file + ": header", kMaxDepth, source.remedy);
  if (!header.is_object()) fail(source, "the header is not a JSON object");

  std::vector<Described> described;
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      described.push_back(describe(source, name, entry));
    } else if (!entry.is_null()) {
      check_metadata(source, entry);
      metadata = entry.get<std::map<std::string, std::string>>();
    }
  }
  check_layout(source, described, file.bytes() - kLengthBytes - text.size());
  for (const Described& one : described) add(one, file.data() + kLengthBytes + text.size());
}

void SafetensorsFile::Content::add(const Described& described, const std::byte* data) {
  Tensor tensor;
  tensor.entry.shape = described.shape;
  tensor.entry.data = data + described.begin;
  tensor.entry.bytes = described.end - described.begin;
  if (!described.type->type) {
    tensor.unusable =
        fmt::format("dtype {} is not supported; supported: F32, F16, BF16", described.type->name);
  } else {
    tensor.entry.dtype = *described.type->type;
    // Files of old writers may begin their data at any byte; kernels read whole elements.
    const auto misaligned =
        reinterpret_cast<std::uintptr_t>(tensor.entry.data) % size_of(tensor.entry.dtype);
    if (misaligned != 0 && tensor.entry.bytes > 0)
      tensor.unusable = "its data are not aligned to its elements";
  }
  tensors.emplace(described.name, std::move(tensor));
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path, const std::string& remedy)
    : content_(std::make_unique<Content>(path)) {
  content_->read_header(
      {path.string(), remedy.empty() ? "download or convert the checkpoint again" : remedy});
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;
SafetensorsFile::~SafetensorsFile() = default;

const std::filesystem::path& SafetensorsFile::path() const { return content_->file.path(); }

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return content_->metadata;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> result;
  result.reserve(content_->tensors.size());
  for (const auto& [name, tensor] : content_->tensors) result.push_back(name);
  return result;
}

bool SafetensorsFile::contains(const std::string& name) const {
  return content_->tensors.contains(name);
}

const TensorEntry& SafetensorsFile::at(const std::string& name) const {
  const auto found = content_->tensors.find(name);
  const std::string where = path().string();
  if (found == content_->tensors.end()) {
    throw Error(ErrorCode::input, fmt::format("{}: no tensor {}", where, quoted(name)),
                "check that config.json and the weights are of the same model");
  }
  if (!found->second.unusable.empty()) {
    throw Error(ErrorCode::input,
                fmt::format("{}: tensor {}: {}", where, quoted(name), found->second.unusable),
                "save the checkpoint again, as bf16, f16 or f32");
  }
  return found->second.entry;
}

bool SafetensorsFile::is_usable(const std::string& name) const {
  const auto found = content_->tensors.find(name);
  return found != content_->tensors.end() && found->second.unusable.empty();
}

void SafetensorsFile::check_unchanged() const { content_->file.check_unchanged(); }

}  // namespace spd
