#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "model/checkpoint/safetensors_writer.h"
#include "model/hash.h"
#include "model/json_object.h"
#include "model/repair.h"

namespace spd {
namespace {

constexpr const char* kSchema = "spd.repair/1";
constexpr const char* kNodes = "ranks_per_node";  // of account for levels within nodes only
constexpr std::string_view kExtension = ".safetensors";
constexpr std::array kWeights{"qkv",     "qkv_bias", "o",         "o_bias",    "up",
                              "up_bias", "down",     "down_bias", "attn_norm", "mlp_norm"};

std::string prediction_name(std::int64_t block, SyncPoint point, int rank, const char* part) {
  return fmt::format("blocks.{}.{}.rank{}.{}", block, name(point), rank, part);
}
std::string weight_name(std::int64_t block, int rank, const char* weight) {
  return fmt::format("blocks.{}.rank{}.{}", block, rank, weight);
}

// What must be the same in the file and in the plan; the first difference is the one to name.
std::vector<std::pair<std::string, std::string>> made_for(const SyncPlan& plan) {
  return {{"schema", kSchema},
          {"model", plan.fingerprint},
          {"tp", std::to_string(plan.ranks())},
          {kNodes, nlohmann::json(plan.ranks_per_node).dump()},
          {"partition", hash_text(plan.partition.to_json().dump())}};
}

class TensorList {
 public:
  explicit TensorList(DType dtype) : dtype_(dtype) {}
  void add(std::string tensor, const HostMatrix& matrix) {
    if (matrix.empty()) return;
    const bool vector = matrix.rows == 1;
    tensors_.push_back({std::move(tensor), vector ? DType::f32 : dtype_,
                        vector ? std::vector<std::int64_t>{matrix.cols}
                               : std::vector<std::int64_t>{matrix.rows, matrix.cols},
                        matrix.values.data()});
  }
  const std::vector<TensorToWrite>& tensors() const { return tensors_; }

 private:
  DType dtype_;
  std::vector<TensorToWrite> tensors_;
};

// The plan names the file in JSON, which holds text alone; names of files may be any bytes.
std::string stem_of(const std::filesystem::path& out) {
  std::string stem = printable(out.stem().string());
  std::replace(stem.begin(), stem.end(), '\\', '_');
  return stem;
}

// `where`: file and tensor.
HostMatrix to_host(const TensorEntry& entry, const std::string& where) {
  const bool vector = entry.shape.size() == 1;
  if (!vector && entry.shape.size() != 2) {
    throw Error(ErrorCode::input, fmt::format("{} is no matrix", where),
                "use the repair file that was written with this plan");
  }
  HostMatrix matrix(vector ? 1 : entry.shape[0], entry.shape.back());
  convert(entry.data, entry.dtype, matrix.values.data(), DType::f32, matrix.values.size());
  return matrix;
}

}  // namespace

std::string RepairFile::write(const std::filesystem::path& file, const SyncPlan& plan,
                              const std::vector<RankRepair>& ranks, DType dtype) {
  FileWriter writer(file);
  std::string hash = write(writer, plan, ranks, dtype);
  writer.commit();
  return hash;
}

RepairReference RepairFile::write_beside(const std::filesystem::path& out, const SyncPlan& plan,
                                         const std::vector<RankRepair>& ranks, DType dtype) {
  FileWriter writer(out);
  const std::string hash = write(writer, plan, ranks, dtype);
  writer.rename(name_beside(out, hash));
  writer.commit();
  return {writer.file(), hash};
}

std::string RepairFile::name_beside(const std::filesystem::path& out, const std::string& hash) {
  constexpr std::size_t kDigits = 8;
  return fmt::format("{}.{}{}", stem_of(out), hash.substr(0, kDigits), kExtension);
}

bool RepairFile::is_name_beside(const std::filesystem::path& out,
                                const std::filesystem::path& file) {
  const std::string stem = stem_of(out);
  const std::string name = file.filename().string();
  if (!name.starts_with(stem) || !name.ends_with(kExtension)) return false;
  const std::string hash = name.substr(stem.size(), name.size() - stem.size() - kExtension.size());
  // Without a hash: of earlier versions, which wrote over it.
  return hash.empty() || (hash.size() == 9 && hash[0] == '.' &&
                          hash.find_first_not_of("0123456789abcdef", 1) == std::string::npos);
}

std::string RepairFile::write(FileWriter& file, const SyncPlan& plan,
                              const std::vector<RankRepair>& ranks, DType dtype) {
  TensorList list(dtype);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const int r = static_cast<int>(rank);
    for (std::size_t index = 0; index < ranks[rank].size(); ++index) {
      const BlockRepair& repair = ranks[rank][index];
      const auto block = static_cast<std::int64_t>(index);
      for (const SyncPoint point : kSyncPoints) {
        const auto& prediction = repair.prediction[point];
        if (!prediction) continue;
        list.add(prediction_name(block, point, r, "from_input"), prediction->from_input);
        list.add(prediction_name(block, point, r, "from_inner"), prediction->from_inner);
        list.add(prediction_name(block, point, r, "to_hidden"), prediction->to_hidden);
        list.add(prediction_name(block, point, r, "mean"), prediction->mean);
      }
      for (const auto& [weight, matrix] : repair.weights) {
        list.add(weight_name(block, r, weight.c_str()), matrix);
      }
    }
  }
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : made_for(plan)) metadata[key] = value;
  metadata["levels"] = plan.levels.to_json().dump();
  metadata["version"] = SPD_VERSION;
  return write_safetensors(file, metadata, list.tensors());
}

RepairFile::RepairFile(const std::filesystem::path& file, const SyncPlan& plan,
                       const std::string& if_damaged)
    : blocks_(plan.levels.blocks()), file_(file, if_damaged) {
  const auto fail = [&](const std::string& problem) {
    throw Error(ErrorCode::input, fmt::format("{}: {}", file.string(), problem),
                "use the repair file that was written with this plan");
  };
  const auto& metadata = file_.metadata();
  const auto expected = made_for(plan);
  for (const auto& [key, ours] : expected) {
    if (!metadata.contains(key))
      fail(fmt::format("is no repair file: it does not say its {}", key));
  }
  const auto levels = metadata.find("levels");
  if (levels == metadata.end()) fail("is no repair file: it does not say its levels");
  levels_ = SyncLevels::from_json(JsonObject::parse(levels->second, file.string() + ": levels", 3));
  for (const auto& [key, ours] : expected) {
    if (key == kNodes && levels_.count(SyncLevel::node) == 0) continue;
    if (const std::string& theirs = metadata.at(key); theirs != ours) {
      fail(fmt::format("was made for another {}: {}, the plan's is {}", key, theirs, ours));
    }
  }
  if (levels_.blocks() != blocks_) fail("has levels of another model");
  for (std::int64_t block = 0; block < blocks_; ++block) {
    for (const SyncPoint point : kSyncPoints) {
      const SyncLevel wanted = plan.levels.at(block, point);
      const SyncLevel made = levels_.at(block, point);
      if (wanted == SyncLevel::full || wanted == made) continue;
      if (!file_.contains(prediction_name(block, point, 0, "mean"))) continue;
      fail(fmt::format("block {} {} was repaired for level {}, the plan says {}", block,
                       name(point), name(made), name(wanted)));
    }
  }
}

RankRepair RepairFile::load(int rank) const {
  RankRepair repairs(blocks_);
  for (std::int64_t block = 0; block < blocks_; ++block) {
    BlockRepair& repair = repairs[block];
    const auto read = [&](const std::string& tensor) {
      return file_.contains(tensor)
                 ? to_host(file_.at(tensor), fmt::format("{}: {}", file_.path().string(), tensor))
                 : HostMatrix();
    };
    for (const SyncPoint point : kSyncPoints) {
      const auto part = [&](const char* of) {
        return read(prediction_name(block, point, rank, of));
      };
      HostMatrix mean = part("mean");
      if (mean.empty()) continue;
      repair.prediction[point] = Prediction{levels_.at(block, point), part("from_input"),
                                            part("from_inner"), part("to_hidden"), std::move(mean)};
    }
    for (const char* weight : kWeights) {
      HostMatrix matrix = read(weight_name(block, rank, weight));
      if (!matrix.empty()) repair.weights[weight] = std::move(matrix);
    }
  }
  return repairs;
}

namespace {

// A repair is mapped: it can be neither a pipe nor a device, which might never end.
void check_regular(const std::filesystem::path& file) {
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (std::filesystem::is_regular_file(status)) return;
  const std::string why = !std::filesystem::exists(status) && !error ? "no such file"
                          : error                                    ? error.message()
                                                                     : "not a regular file";
  throw Error(ErrorCode::input, fmt::format("{}: {}", file.string(), why),
              "the plan refers to it: keep the two together");
}

}  // namespace

std::string file_hash(const std::filesystem::path& file) {
  check_regular(file);
  std::ifstream stream(file, std::ios::binary);
  Fnv1a hash;
  std::vector<char> chunk(1 << 20);
  while (stream) {
    stream.read(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    hash.add({chunk.data(), static_cast<std::size_t>(stream.gcount())});
  }
  if (!stream.eof()) {
    throw Error(ErrorCode::input, fmt::format("{}: cannot be read", file.string()),
                "the plan refers to it: keep the two together");
  }
  return hash.hex();
}

void install_repair(const SyncPlan& plan, int rank, Shard& shard, Operators& operators) {
  if (!plan.repair) return;
  const auto& file = plan.repair->file;
  check_regular(file);
  // What another file's content comes to is not told: the plan may have come from anywhere.
  if (rank == 0 && file_hash(file) != plan.repair->hash) {
    throw Error(ErrorCode::input,
                fmt::format("{}: its content is not what the plan was made with (hash {})",
                            file.string(), shown_json(plan.repair->hash)),
                "use the repair file that was written with this plan");
  }
  const RankRepair repairs = RepairFile(file, plan).load(rank);
  for (std::size_t block = 0; block < repairs.size(); ++block) {
    if (repairs[block].empty()) continue;
    install(repairs[block], shard.blocks.at(block), operators,
            fmt::format("{}: block {} rank {}", file.string(), block, rank));
  }
}

}  // namespace spd
