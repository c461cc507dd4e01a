// Whole models on GPUs give the CPU's logits: in prefill and decode, of every family, on one rank
// and on several.
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_operators.h"
#include "tests/kernels/cuda/cuda_fixture.h"
#include "tests/model/logits.h"
#include "tests/model/virtual_run.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace spd {
namespace {

const std::filesystem::path kModels = std::filesystem::path(SPD_FIXTURES) / "models";

std::vector<std::int32_t> first_input(const std::string& model) {
  std::ifstream stream(kModels / model / "expected.json");
  return nlohmann::json::parse(stream)["sequences"][0]["input"].get<std::vector<std::int32_t>>();
}

VirtualRun on_gpu(VirtualRun run) {
  run.make_device = [] { return std::make_unique<cuda::CudaDevice>(0); };
  run.make_operators = [](Device& device) {
    return cuda::make_cuda_operators(static_cast<cuda::CudaDevice&>(device));
  };
  return run;
}

// Sums of f32 products in another order: differences grow with depth and with the logits' size.
constexpr double kTolerance = 2e-4;
// Products of more than a few tokens with 16-bit weights round the activations to 16 bits, too.
constexpr double kRoundedTolerance = 2e-2;

class CudaModels : public test::CudaTest, public testing::WithParamInterface<const char*> {};

TEST_P(CudaModels, GiveTheLogitsOfTheCpu) {
  const std::string model = GetParam();
  const bool rounds = model == "llama-bf16" || model == "llama-f16";
  VirtualRun run;
  run.model = kModels / model;
  const auto tokens = first_input(model);
  const Logits wanted = run_logits(run, tokens);
  for (const std::int64_t step : {64, 7, 1}) {
    run.step_tokens = step;
    EXPECT_LT(relative_difference(run_logits(on_gpu(run), tokens), wanted),
              rounds && step > 8 ? kRoundedTolerance : kTolerance)
        << model << " in steps of " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(All, CudaModels,
                         testing::Values("llama", "llama-bf16", "llama-f16", "llama-biases",
                                         "llama-rope-yarn", "llama-tied-9-heads", "mistral", "opt",
                                         "qwen2", "qwen2-window", "qwen3"));

#if defined(SPD_CUDA_EMULATED)
// Until GPUs have sums of their own, ranks add up in host memory, which emulated memory is.
TEST_F(CudaModels, OnSeveralRanks) {
  for (const char* model : {"llama", "llama-tied-9-heads", "qwen3", "opt"}) {
    VirtualRun run;
    run.model = kModels / model;
    const auto tokens = first_input(model);
    for (const int ranks : {2, 3, 4}) {
      run.ranks = ranks;
      // Sums that are left out, too: the residual stream goes other ways then.
      run.edit_levels = [](SyncLevels& levels) {
        levels.attn[1] = SyncLevel::drop;
        levels.mlp[0] = SyncLevel::drop;
      };
      const Logits wanted = run_logits(run, tokens);
      run.step_tokens = 5;
      EXPECT_LT(relative_difference(run_logits(on_gpu(run), tokens), wanted), kTolerance)
          << model << " on " << ranks << " ranks";
      run.step_tokens = 64;
    }
  }
}

TEST_F(CudaModels, InEveryOrderOfThreadsAndStreams) {
  VirtualRun run;
  run.model = kModels / "llama";
  run.ranks = 2;
  const auto tokens = first_input("llama");
  const Logits wanted = run_logits(run, tokens);
  for (const auto order : {cuda_emulation::Order::down, cuda_emulation::Order::random}) {
    cuda_emulation::options().order = order;
    cuda_emulation::options().random_streams = true;
    EXPECT_LT(relative_difference(run_logits(on_gpu(run), tokens), wanted), kTolerance);
  }
}
#endif

TEST_F(CudaModels, SixteenBitCaches) {
  for (const DType type : {DType::f16, DType::bf16}) {
    VirtualRun run;
    run.model = kModels / "llama";
    run.kv_dtype = type;
    const auto tokens = first_input("llama");
    const Logits wanted = run_logits(run, tokens);
    // A key or value that was an f32 rounding from a tie may round the other way.
    EXPECT_LT(relative_difference(run_logits(on_gpu(run), tokens), wanted),
              type == DType::f16 ? 2e-3 : 2e-2);
  }
}

}  // namespace
}  // namespace spd
