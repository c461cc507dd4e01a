#include "model/safetensors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "kernels/device/error.h"
#include "model/json_object.h"

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
    StoredType{"F32", 32, DType::f32},      StoredType{"F16", 16, DType::f16},
    StoredType{"BF16", 16, DType::bf16},    StoredType{"BOOL", 8, std::nullopt},
    StoredType{"U8", 8, std::nullopt},      StoredType{"I8", 8, std::nullopt},
    StoredType{"F8_E5M2", 8, std::nullopt}, StoredType{"F8_E4M3", 8, std::nullopt},
    StoredType{"F8_E8M0", 8, std::nullopt}, StoredType{"F4", 4, std::nullopt},
    StoredType{"F6_E2M3", 6, std::nullopt}, StoredType{"F6_E3M2", 6, std::nullopt},
    StoredType{"I16", 16, std::nullopt},    StoredType{"U16", 16, std::nullopt},
    StoredType{"I32", 32, std::nullopt},    StoredType{"U32", 32, std::nullopt},
    StoredType{"I64", 64, std::nullopt},    StoredType{"U64", 64, std::nullopt},
    StoredType{"F64", 64, std::nullopt},    StoredType{"C64", 64, std::nullopt},
};

/// A tensor as the header describes it; offsets from the first byte after the header.
struct Described {
  std::string name;
  const StoredType* type = nullptr;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

[[noreturn]] void fail(const std::string& file, const std::string& problem) {
  throw Error(ErrorCode::input, fmt::format("{}: {}", file, problem),
              "download or convert the checkpoint again");
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
Described describe(const std::string& file, const std::string& name, const nlohmann::json& entry) {
  const auto bad = [&](const std::string& problem) {
    fail(file, fmt::format("tensor {}: {}", quoted(name), problem));
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
void check_layout(const std::string& file, std::vector<Described>& tensors,
                  std::uint64_t data_bytes) {
  std::sort(tensors.begin(), tensors.end(), [](const Described& a, const Described& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t filled = 0;
  for (const Described& tensor : tensors) {
    const auto bad = [&](const std::string& problem) {
      fail(file, fmt::format("tensor {}: {}", quoted(tensor.name), problem));
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
    fail(file, fmt::format("{} bytes follow the last tensor", data_bytes - filled));
  }
}

void check_metadata(const std::string& file, const nlohmann::json& metadata) {
  const bool strings = metadata.is_object() &&
                       std::all_of(metadata.begin(), metadata.end(),
                                   [](const nlohmann::json& value) { return value.is_string(); });
  if (!strings) fail(file, "__metadata__ is not an object of strings");
}

/// A file descriptor that closes itself.
class File {
 public:
  explicit File(const std::filesystem::path& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

struct SafetensorsFile::Mapping {
  struct Tensor {
    TensorEntry entry;
    std::string unusable;  // why it cannot be asked for, empty where it can
  };

  std::filesystem::path path;
  void* address = MAP_FAILED;
  std::size_t bytes = 0;
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;

  explicit Mapping(std::filesystem::path file) : path(std::move(file)) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (address != MAP_FAILED) ::munmap(address, bytes);
  }

  void map();
  void read_header();
  void add(const Described& described, const std::byte* data);
};

void SafetensorsFile::Mapping::map() {
  const auto refused = [&] {
    throw Error(ErrorCode::input,
                fmt::format("{}: cannot be read: {}", path.string(), std::strerror(errno)),
                "check that the file is there and may be read");
  };
  const File file(path);
  struct stat info {};
  if (file.descriptor() < 0 || ::fstat(file.descriptor(), &info) != 0) refused();
  if (!S_ISREG(info.st_mode)) {
    throw Error(ErrorCode::input, fmt::format("{}: is not a file", path.string()),
                "give a safetensors file");
  }
  bytes = static_cast<std::size_t>(info.st_size);
  if (bytes < kLengthBytes) {
    fail(path.string(), fmt::format("holds {} bytes, not even a header's length", bytes));
  }
  address = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  if (address == MAP_FAILED) refused();
}

void SafetensorsFile::Mapping::read_header() {
  const auto* start = static_cast<const std::byte*>(address);
  std::uint64_t header_bytes = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;) {
    header_bytes = (header_bytes << 8) | std::to_integer<std::uint64_t>(start[i]);
  }
  if (header_bytes > kMaxHeaderBytes) {
    fail(path.string(),
         fmt::format("claims a header of {} bytes, above the limit of {}; not a safetensors file?",
                     header_bytes, kMaxHeaderBytes));
  }
  if (header_bytes > bytes - kLengthBytes) {
    fail(path.string(), fmt::format("truncated: a header of {} bytes, of which {} are there",
                                    header_bytes, bytes - kLengthBytes));
  }
  const std::string_view text(reinterpret_cast<const char*>(start + kLengthBytes), header_bytes);
  const nlohmann::json header = parse_json(text, path.string() + ": header", kMaxDepth);
  if (!header.is_object()) fail(path.string(), "the header is not a JSON object");

  std::vector<Described> described;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      check_metadata(path.string(), entry);
      metadata = entry.get<std::map<std::string, std::string>>();
    } else {
      described.push_back(describe(path.string(), name, entry));
    }
  }
  check_layout(path.string(), described, bytes - kLengthBytes - header_bytes);
  for (const Described& one : described) add(one, start + kLengthBytes + header_bytes);
}

void SafetensorsFile::Mapping::add(const Described& described, const std::byte* data) {
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

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : mapping_(std::make_unique<Mapping>(path)) {
  mapping_->map();
  mapping_->read_header();
}

SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;
SafetensorsFile::~SafetensorsFile() = default;

const std::filesystem::path& SafetensorsFile::path() const { return mapping_->path; }

const std::map<std::string, std::string>& SafetensorsFile::metadata() const {
  return mapping_->metadata;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> result;
  result.reserve(mapping_->tensors.size());
  for (const auto& [name, tensor] : mapping_->tensors) result.push_back(name);
  return result;
}

bool SafetensorsFile::contains(const std::string& name) const {
  return mapping_->tensors.contains(name);
}

const TensorEntry& SafetensorsFile::at(const std::string& name) const {
  const auto found = mapping_->tensors.find(name);
  const std::string where = mapping_->path.string();
  if (found == mapping_->tensors.end()) {
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

}  // namespace spd
