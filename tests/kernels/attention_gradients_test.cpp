// Attention's backward operators against finite differences of the reference operators.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/cpu/gemm.h"
#include "kernels/device/error.h"
#include "kernels/gradients.h"
#include "tests/kernels/gradient_checks.h"

namespace spd::test {
namespace {

/// Two sequences of different lengths through store_kv and attention.
class AttentionCase {
 public:
  AttentionCase(std::int64_t q_heads, std::int64_t kv_heads, bool norms, std::int64_t window)
      : q_heads_(q_heads), kv_heads_(kv_heads), norms_(norms), window_(window) {
    for (std::int64_t h = 0; h < q_heads; ++h) {
      kv_head_of_.push_back(static_cast<std::int32_t>(h * kv_heads / q_heads));
    }
    rope_.positions = kCapacity;
    rope_.rotary_dim = kHeadDim;
    rope_.cos_sin = Buffer(ops_.device, kCapacity * kHeadDim * sizeof(float));
    for (std::int64_t p = 0; p < kCapacity; ++p) {
      float* row = rope_.cos_sin.as<float>() + p * kHeadDim;
      for (std::int64_t i = 0; i < kHeadDim / 2; ++i) {
        const double angle = static_cast<double>(p) * std::pow(0.5, static_cast<double>(i));
        row[i] = static_cast<float>(std::cos(angle) * 1.1);  // 1.1: as yarn scales them
        row[kHeadDim / 2 + i] = static_cast<float>(std::sin(angle) * 1.1);
      }
    }
    const std::int64_t size = 2 * kv_heads * kCapacity * kHeadDim;
    keys_.resize(size);
    values_.resize(size);
    cache_ = {keys_.data(), values_.data(), DType::f32, 2, kv_heads, kCapacity, kHeadDim};
    const std::int64_t tokens = segments_[0].length + segments_[1].length;
    qkv = random_.matrix(tokens, (q_heads + 2 * kv_heads) * kHeadDim);
    direction = random_.matrix(tokens, q_heads * kHeadDim);
    q_norm = random_.vector(kHeadDim, 0.5f, 1.5f);
    k_norm = random_.vector(kHeadDim, 0.5f, 1.5f);
  }

  double loss(Operators& operators) {
    turned_ = qkv;
    const Norm q{NormKind::rms, q_norm.data(), nullptr, 0.1f};
    const Norm k{NormKind::rms, k_norm.data(), nullptr, 0.1f};
    operators.store_kv({.qkv = turned_.view(),
                        .q_heads = q_heads_,
                        .q_norm = norms_ ? &q : nullptr,
                        .k_norm = norms_ ? &k : nullptr,
                        .rope = &rope_,
                        .segments = segments_,
                        .cache = cache_},
                       *ops_.stream);
    out_ = Matrix(qkv.view().rows, q_heads_ * kHeadDim);
    operators.attention({.q = turned_.view().col_range(0, q_heads_ * kHeadDim),
                         .segments = segments_,
                         .kv_head_of = kv_head_of_,
                         .scale = kScale,
                         .window = window_,
                         .cache = cache_,
                         .out = out_.view()},
                        *ops_.stream);
    return inner_product(out_, direction);
  }

  void check(int threads, MatmulMode products = MatmulMode::f32, double tolerance = 3e-3) {
    const auto gradients = make_cpu_gradients({.threads = threads, .products = products});
    const auto reference = [&] { return loss(*ops_.reference); };
    Matrix wanted = slopes(qkv, reference, kRowStep);
    Matrix wanted_q = slopes(q_norm, reference), wanted_k = slopes(k_norm, reference);
    reference();
    Matrix dqkv(qkv.view().rows, qkv.view().cols);
    gradients->attention({.q = turned_.view().col_range(0, q_heads_ * kHeadDim),
                          .segments = segments_,
                          .kv_head_of = kv_head_of_,
                          .scale = kScale,
                          .window = window_,
                          .cache = cache_,
                          .out = out_.view(),
                          .dout = direction.view(),
                          .dqkv = dqkv.view()},
                         *ops_.stream);
    const Norm q{NormKind::rms, q_norm.data(), nullptr, 0.1f};
    const Norm k{NormKind::rms, k_norm.data(), nullptr, 0.1f};
    std::vector<float> dq(kHeadDim), dk(kHeadDim);
    gradients->store_kv({.dqkv = dqkv.view(),
                         .qkv = qkv.view(),
                         .q_heads = q_heads_,
                         .kv_heads = kv_heads_,
                         .head_dim = kHeadDim,
                         .q_norm = norms_ ? &q : nullptr,
                         .k_norm = norms_ ? &k : nullptr,
                         .dq_norm = dq.data(),
                         .dk_norm = dk.data(),
                         .rope = &rope_,
                         .segments = segments_},
                        *ops_.stream);
    for (std::int64_t r = 0; r < dqkv.view().rows; ++r) {
      for (std::int64_t c = 0; c < dqkv.view().cols && r % kRowStep != 0; ++c) dqkv.at(r, c) = 0.0f;
    }
    expect_near(dqkv, wanted, tolerance,
                fmt::format("dqkv of {} and {} heads, window {}, {} threads", q_heads_, kv_heads_,
                            window_, threads));
    if (!norms_) return;
    Matrix got_q = as_row(dq), got_k = as_row(dk);
    expect_near(got_q, wanted_q, tolerance, "dq_norm");
    expect_near(got_k, wanted_k, tolerance, "dk_norm");
  }

  Matrix qkv, direction;
  std::vector<float> q_norm, k_norm;

 private:
  static constexpr std::int64_t kHeadDim = 6, kCapacity = 80;
  static constexpr std::int64_t kRowStep = 4;  // differences are slow: of every fourth token
  static constexpr float kScale = 0.3f;

  std::int64_t q_heads_, kv_heads_;
  bool norms_;
  std::int64_t window_;
  Pair ops_;
  Random random_;
  std::vector<Segment> segments_ = {{0, 3, 1, 0}, {3, 70, 0, 0}};  // one longer than a block
  std::vector<std::int32_t> kv_head_of_;
  RopeTable rope_;
  std::vector<float> keys_, values_;
  KvLayer cache_;
  Matrix turned_, out_;
};

TEST(AttentionGradients, AgainstFiniteDifferences) {
  AttentionCase(1, 1, false, 0).check(1);
  AttentionCase(4, 2, false, 0).check(2);
  AttentionCase(3, 1, false, 20).check(2);
  AttentionCase(2, 2, true, 0).check(1);
}

// Both factors of a product are off by 2^-9 at most, and so are the products; a gradient of the
// heads' norms sums some 150 of them.
TEST(AttentionGradients, InBf16) {
  if (!multiplies_bf16()) GTEST_SKIP() << "this processor has no AVX-512-BF16";
  for (const int threads : kThreads) {
    AttentionCase(4, 2, false, 0).check(threads, MatmulMode::bf16_tiles, 1.5e-2);
    AttentionCase(3, 1, false, 20).check(threads, MatmulMode::bf16_tiles, 1.5e-2);
    AttentionCase(2, 2, true, 0).check(threads, MatmulMode::bf16_tiles, 1.5e-2);
  }
}

}  // namespace
}  // namespace spd::test
