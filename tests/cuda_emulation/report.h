// What is found wrong, kept for the test.
#pragma once

#include <string>

namespace cuda_emulation {

/// Kept once, however often it is said; only the first few hundred.
void report(const std::string& message);

}  // namespace cuda_emulation
