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
  cuda_emulation::options().guarded = false;
  for (const char* model : {"llama", "llama-tied-9-heads", "qwen3", "opt"}) {
    VirtualRun run;
    run.model = kModels / model;
    const auto tokens = first_input(model);
    for (const int ranks : {2, 3, 4}) {
      run.ranks = ranks;
      // Sums that are left out, too: the residual stream goes other ways then.
      run.edit_levels = [](SyncLevels& levels) {
        levels.at(1, SyncPoint::attn) = SyncLevel::drop;
        levels.at(0, SyncPoint::mlp) = SyncLevel::drop;
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
  cuda_emulation::options().guarded = false;
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

/// SmolLM2-135M where it is, with what transformers continues a prompt by.
class CudaSmolLm2 : public test::CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
#if defined(SPD_CUDA_EMULATED)
    cuda_emulation::options().guarded = false;  // of so much memory it takes too long
#endif
    run_.model = std::filesystem::path(SPD_SOURCE_DIR) / "models" / "smollm2-135m";
    run_.kv_dtype = DType::f16;
    run_.step_tokens = 1;
    if (!std::filesystem::exists(run_.model / "config.json")) {
      GTEST_SKIP() << run_.model << " is not there";
    }
  }
  VirtualRun run_;
};

TEST_F(CudaSmolLm2, ContinuesAsTransformersDoes) {
  if (test::checked()) GTEST_SKIP() << "takes minutes when accesses are checked";
  std::ifstream stream(std::filesystem::path(SPD_FIXTURES) / "smollm2" / "reference.json");
  const auto reference = nlohmann::json::parse(stream)["continuations"][0];
  auto tokens = reference["input"].get<std::vector<std::int32_t>>();
  const auto output = reference["output"].get<std::vector<std::int32_t>>();
  const std::size_t prompt = tokens.size();
  constexpr std::size_t kTokens = 8;
  tokens.insert(tokens.end(), output.begin(), output.begin() + kTokens - 1);
  const Logits logits = run_logits(on_gpu(run_), tokens);
  for (std::size_t i = 0; i < kTokens; ++i) EXPECT_EQ(argmax(logits[prompt - 1 + i]), output[i]);
}

#if defined(SPD_CUDA_EMULATED)
// One token, one pass over the weights, few launches.
TEST_F(CudaSmolLm2, ADecodeStepReadsTheWeightsOnce) {
  const ModelConfig config = ModelConfig::load(run_.model);
  run_logits(on_gpu(run_), {22007});
  std::uint64_t read = 0, launches = 0;
  for (const auto& [name, kernel] : cuda_emulation::take_statistics()) {
    read += kernel.distinct_read;
    launches += kernel.launches;
  }
  // A block: two norms are part of products; the sums follow where ranks would add up.
  EXPECT_LE(launches, 9u * config.blocks + 5);
  if (!test::checked()) return;
  const std::int64_t of_block =
      (config.q_heads + 2 * config.kv_heads) * config.head_dim * config.hidden +
      config.hidden * config.q_heads * config.head_dim + 3 * config.hidden * config.mlp;
  const auto weights =
      static_cast<double>(2 * (config.blocks * of_block + config.vocab * config.hidden));
  // The rest: activations, read by each kernel once, and one position of the cache.
  EXPECT_NEAR(static_cast<double>(read), weights, 0.01 * weights);
}
#endif

}  // namespace
}  // namespace spd
