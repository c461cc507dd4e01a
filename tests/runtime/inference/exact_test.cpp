// With --exact a prompt's logits are the same bits alone, in any batch, and in steps of any size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/device/error.h"
#include "tests/runtime/exact_checks.h"

namespace spd {
namespace {

TEST(Exact, LogitsAreTheSameBitsInAnyBatchAndSteps) {
  for (const char* model : {"llama-bf16", "llama-tied-9-heads", "qwen3", "opt"}) {
    EngineOptions options = exact_options(fixture_model(model));
    options.batch_tokens = 64 * 64;
    options.kv_dtype = DType::f16;
    for (const int ranks : {1, 3}) {
      exact::expect_same_bits(options, ranks, 64, {2, 3, 4, 5, 6, 7, 8, 9, 64});
    }
    options.drop = {"attn:all"};
    options.wire = {"bf16=mlp:all"};
    options.threads = 2;
    exact::expect_same_bits(options, 2, 9, {2, 9});
  }
}

TEST(Exact, IsRefusedWhereTheOrderOfSumsDependsOnTheirSize) {
  launch_virtual({2, 1}, [](RankContext& context) {
    context.sums_vary_with_size = "across nodes";
    try {
      const Engine engine(context, exact_options(fixture_model("llama")), 64);
      ADD_FAILURE() << "taken";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("--exact"));
      EXPECT_THAT(error.what(), testing::HasSubstr("--algo"));
    }
  });
}

}  // namespace
}  // namespace spd
