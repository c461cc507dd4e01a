// An error that every rank knows of and throws alike.
#pragma once

#include "kernels/device/error.h"

namespace spd {

/// The message is the same on every rank: one rank prints it, and all end in order.
class AgreedError : public Error {
 public:
  using Error::Error;
};

}  // namespace spd
