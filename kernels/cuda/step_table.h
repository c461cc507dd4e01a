// What a step's kernels read of its rows and heads, put on the device once a step.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/prefill_attention.h"
#include "kernels/cuda/step_rows.h"
#include "kernels/operators.h"

namespace spd::cuda {

/// Used by one stream at a time.
class StepTable {
 public:
  explicit StepTable(CudaDevice& device) : device_(device) {}

  struct Step {
    const StepRow* rows = nullptr;     ///< device, one for each row of the step
    std::int64_t longest = 0;          ///< positions that the longest of its sequences has
    const QueryTile* tiles = nullptr;  ///< device: rows of long segments, 64 at most each
    int tile_count = 0;
    bool singles = false;  ///< whether there are rows outside of tiles
  };
  /// The same segments as last time cost nothing: the layers of a step share one table.
  Step rows(std::span<const Segment> segments, std::int64_t row_count, Stream& stream);

  struct Groups {
    const HeadGroup* groups = nullptr;  ///< device
    int count = 0;
    int widest = 1;                            ///< most heads of one
    const std::int32_t* kv_head_of = nullptr;  ///< device, as given
  };
  /// Query heads gathered by the KV head that they read.
  Groups groups(std::span<const std::int32_t> kv_head_of, Stream& stream);

 private:
  std::vector<QueryTile> fill(std::span<const Segment> segments, StepRow* rows);
  bool is_last(std::span<const Segment> segments, std::int64_t row_count) const;

  /// Rows on their way: the host may fill them again when the copy is done.
  struct Staging {
    HostBuffer memory;
    std::unique_ptr<Event> copied;
  };

  CudaDevice& device_;
  Buffer table_;  // rows, then tiles
  Staging staging_[2];
  int turn_ = 0;
  std::vector<Segment> last_;
  std::int64_t last_rows_ = -1;
  Step step_;

  struct Map {
    Buffer buffer, kv_head_of;
    int count = 0, widest = 1;
  };
  std::map<std::vector<std::int32_t>, Map> maps_;
};

}  // namespace spd::cuda
