// Repairs of the blocks whose syncs a plan leaves out: what it may carry besides levels.
//
// Where a sync point is not `full`, a rank's view lacks what other ranks added. A prediction of it
// from what the rank has at hand is added to the view alone, never to the residual stream, which
// gets the true sum at the next full sync:
//   view += to_hidden (from_input norm(x) + from_inner inner) + mean
// with x what the sub-layer saw, norm its norm, inner its heads' outputs or its neurons. Weights of
// a block may also be replaced by others of the same shapes (distilled, refitted).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device/file_writer.h"
#include "kernels/operators.h"
#include "model/checkpoint/safetensors.h"
#include "model/shard.h"
#include "model/sync_plan.h"

namespace spd {

/// A matrix on the host, row-major; a vector is one row.
struct HostMatrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<float> values;

  HostMatrix() = default;
  HostMatrix(std::int64_t row_count, std::int64_t col_count)
      : rows(row_count), cols(col_count), values(row_count * col_count) {}
  float* row(std::int64_t i) { return values.data() + i * cols; }
  const float* row(std::int64_t i) const { return values.data() + i * cols; }
  bool empty() const { return values.empty(); }
};

/// One rank's prediction behind one sync point; k = 0 (no matrices) predicts the mean alone.
struct Prediction {
  SyncLevel level = SyncLevel::drop;  ///< the level it was fitted for; unused at others
  HostMatrix from_input;              ///< [k, hidden]; may be empty where from_inner is not
  HostMatrix from_inner;              ///< [k, inner]; may be empty
  HostMatrix to_hidden;               ///< [hidden, k]
  HostMatrix mean;                    ///< [1, hidden]

  std::int64_t k() const { return to_hidden.cols; }
};

/// One rank's part of one block's repair.
struct BlockRepair {
  PerPoint<std::optional<Prediction>> prediction;
  /// Local tensors to be used instead, by their names in repair files: qkv, qkv_bias, o, o_bias, up
  /// (BlockWeights' gate_up), up_bias, down, down_bias, attn_norm, mlp_norm. The biases o_bias and
  /// down_bias are shared: the same on every rank.
  std::map<std::string, HostMatrix> weights;

  bool empty() const { return !prediction.attn && !prediction.mlp && weights.empty(); }
};

using RankRepair = std::vector<BlockRepair>;  ///< [blocks]

/// What a prediction's matrices are kept in beside weights of this type: i8 beside bf16, since what
/// they add is an estimate, and decoding waits for their bytes.
inline DType prediction_type(DType weights) { return weights == DType::bf16 ? DType::i8 : weights; }

/// Puts a block's repair on the device, in place of any that was there. Throws input Error naming
/// the tensor (behind `where`) that does not fit or is not finite.
void install(const BlockRepair& repair, BlockWeights& block, Operators& operators,
             const std::string& where);

/// Gives the block its own weights back, and no predictions.
void remove_repair(BlockWeights& block);

/// A repair file: safetensors, "blocks.3.attn.rank1.from_input", "blocks.3.rank1.down", ..., with
/// what it was made for in its metadata.
class RepairFile {
 public:
  /// Writes all ranks' repairs of `plan`'s levels and partition (model, ranks and nodes, too).
  /// Matrices are stored in `dtype`, vectors in f32. Returns the file's hash.
  static std::string write(const std::filesystem::path& file, const SyncPlan& plan,
                           const std::vector<RankRepair>& ranks, DType dtype);
  /// The same beside a plan that goes to `out`, for out.json as out.HASH.safetensors with the
  /// hash's first 8 digits: the repairs of the plan that `out` holds stay what it says they are.
  static RepairReference write_beside(const std::filesystem::path& out, const SyncPlan& plan,
                                      const std::vector<RankRepair>& ranks, DType dtype);
  /// The name of such a file whose content has this hash.
  static std::string name_beside(const std::filesystem::path& out, const std::string& hash);
  /// Whether write_beside(out) may have made a file of this name.
  static bool is_name_beside(const std::filesystem::path& out, const std::filesystem::path& file);

  /// Maps the file. Throws input Error naming the file and the difference where it was made for
  /// another model, number of ranks or partition than `plan`, for another level at a sync point
  /// that `plan` does not leave full or, if it has syncs within nodes, for other nodes.
  /// `if_damaged` is the remedy for a file that is torn or no safetensors file.
  RepairFile(const std::filesystem::path& file, const SyncPlan& plan,
             const std::string& if_damaged =
                 "repair again, or restore the file that was written with this plan");

  /// Reads one rank's share; nothing else of the file is touched.
  RankRepair load(int rank) const;

 private:
  static std::string write(FileWriter& file, const SyncPlan& plan,
                           const std::vector<RankRepair>& ranks, DType dtype);

  std::int64_t blocks_ = 0;
  SyncLevels levels_;
  SafetensorsFile file_;
};

/// Opens the file that `plan` refers to and installs `rank`'s share; a plan without one does
/// nothing. On rank 0 the file's content is checked against the hash in the plan.
void install_repair(const SyncPlan& plan, int rank, Shard& shard, Operators& operators);

/// FNV-1a, 64 bits, of the file's bytes, as 16 hexadecimal digits.
std::string file_hash(const std::filesystem::path& file);

}  // namespace spd
