// The trained model with --exact: the same bits in any batch.
#include <gtest/gtest.h>

#include "tests/runtime/exact_checks.h"

namespace spd {
namespace {

TEST(SmolLm2Exact, LogitsAreTheSameBitsInAnyBatchAndSteps) {
  if (!std::filesystem::exists(trained_model() / "model.safetensors")) {
    GTEST_SKIP() << trained_model() << " is not there: run scripts/fetch-model.py";
  }
  EngineOptions options;
  options.model = trained_model();
  options.exact = true;
  exact::expect_same_bits(options, 2, 9, {2, 9});
}

}  // namespace
}  // namespace spd
