// The observer of sync points: sees each as a step passes it, for calibration.
#pragma once

#include <cstdint>

#include "kernels/operators.h"
#include "model/sync_levels.h"

namespace spd {

/// A sub-layer that has run and the sync point behind it, on one rank. Views are [tokens, ...] on
/// the device and valid during the call.
struct SyncPassage {
  std::int64_t block = 0;
  SyncPoint point = SyncPoint::attn;
  SyncLevel level = SyncLevel::full;
  ConstActivations input;    ///< [hidden]: what the sub-layer saw, before its norm
  Norm norm;                 ///< the sub-layer's norm
  ConstActivations inner;    ///< the heads' outputs [q_heads * head_dim], or the neurons [neurons]
  ConstActivations partial;  ///< [hidden]: this rank's own part of the sub-layer's sum
  ConstActivations base;     ///< [hidden]: what is identical on every rank, shared bias included
  ConstActivations delta;    ///< [hidden]: all this rank has added since the last full sync
  ConstActivations view;     ///< [hidden]: what this rank sees
};

/// Called on every rank alike, so that it may communicate.
class SyncObserver {
 public:
  virtual ~SyncObserver() = default;
  /// Before anything is sent: `view` is what dropping the sync would show.
  virtual void before_sync(const SyncPassage& passage, Stream& stream) = 0;
  /// After the sync. Only block, point, level and `view`, what the next sub-layer sees, are given.
  virtual void after_sync(const SyncPassage& passage, Stream& stream) {
    static_cast<void>(passage), static_cast<void>(stream);
  }
};

}  // namespace spd
