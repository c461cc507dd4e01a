// The paper's classes of blocks (arXiv 2502.20727, section 3.2), by what dropping a block's
// attention sync does, measured one way or another.
#pragma once

namespace spd {

enum class BlockClass {
  insensitive,  ///< ISB: dropped as it is
  sensitive,    ///< SB: repaired
  extreme,      ///< ESB: its heads are grouped, too
};

constexpr const char* name(BlockClass block_class) {
  switch (block_class) {
    case BlockClass::insensitive:
      return "ISB";
    case BlockClass::sensitive:
      return "SB";
    case BlockClass::extreme:
      return "ESB";
  }
  return "unknown";
}

/// Where the classes begin, in the unit of the measure that is classified.
struct ClassThresholds {
  double tau1 = 0.0;  ///< above: sensitive
  double tau2 = 0.0;  ///< above: extremely sensitive

  constexpr BlockClass classify(double measure) const {
    if (measure > tau2) return BlockClass::extreme;
    return measure > tau1 ? BlockClass::sensitive : BlockClass::insensitive;
  }
};

}  // namespace spd
