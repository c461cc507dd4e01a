#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cpu/attention_gradient.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gradient_kernels.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/cpu/work_split.h"
#include "kernels/device/host_memory.h"
#include "kernels/gradients.h"
#include "kernels/operator_checks.h"

namespace spd {

namespace {

constexpr std::int64_t kUnit = 16;             // columns or rows that shares are made of
constexpr std::int64_t kAdamChunk = 4096;      // parameters
constexpr std::int64_t kSumChunk = 16 * 1024;  // summands of an f32 sum, before f64 takes over

class CpuGradients final : public Gradients {
 public:
  explicit CpuGradients(const CpuOptions& options)
      : pool_(options.threads, options.cores),
        operand_type_(options.products != MatmulMode::f32 && multiplies_bf16() ? DType::bf16
                                                                               : DType::f32),
        scratch_(pool_.size()) {}

  DType operand_type() const override { return operand_type_; }

  void activate(Epilogue epilogue, ConstActivations pre, Activations y, Stream&) override {
    check_activation("activate", epilogue, pre, y);
    for_rows(y.rows, [&](std::int64_t t) {
      finish_row({.epilogue = epilogue,
                  .value = pre.row(t),
                  .up = pre.row(t) + y.cols,
                  .y = y.row(t),
                  .count = static_cast<std::size_t>(y.cols)});
    });
  }

  void activation(Epilogue epilogue, ConstActivations pre, ConstActivations dy, Activations dpre,
                  Stream&) override {
    check_activation("activation", epilogue, pre, dy);
    check_same_shape("activation", pre, dpre);
    for_rows(dy.rows, [&](std::int64_t t) {
      activation_gradient_row(epilogue, pre.row(t), pre.row(t) + dy.cols, dy.row(t), dy.cols,
                              dpre.row(t), dpre.row(t) + dy.cols);
    });
  }

  void linear_input(ConstActivations dy, const Weight& weight, bool accumulate, Activations dx,
                    Stream&) override {
    check_linear_input(dy, weight, dx);
    if (weight.dtype == DType::bf16) {
      const Bf16Operand left = rounded(dy, rounded_dy_);
      const auto* w = weight.storage.as<const std::uint16_t>();
      for_share(dx.cols, kUnit, [&](IndexRange mine) {
        multiply_bf16(dx.rows, mine.end - mine.begin, dy.cols, left,
                      {w + mine.begin, weight.stride}, accumulate, dx.data + mine.begin, dx.stride);
      });
      return;
    }
    const float beta = accumulate ? 1.0f : 0.0f;
    const auto* w = weight.storage.as<const float>();
    for_share(dx.cols, kUnit, [&](IndexRange mine) {
      multiply(dx.rows, mine.end - mine.begin, dy.cols, dy.data, dy.stride, w + mine.begin,
               weight.stride, beta, dx.data + mine.begin, dx.stride);
    });
  }

  void linear_weight(ConstActivations dy, ConstActivations x, Activations dweight,
                     Stream&) override {
    check_linear_weight(dy, x, dweight);
    if (operand_type_ == DType::bf16) {
      const auto* left = static_cast<const std::uint16_t*>(rounded(dy, rounded_dy_).data);
      const Bf16Operand right = rounded(x, rounded_x_);
      for_share(dweight.rows, kUnit, [&](IndexRange mine) {
        multiply_bf16(mine.end - mine.begin, x.cols, dy.rows,
                      {.data = left + mine.begin, .row_stride = 1, .col_stride = dy.cols}, right,
                      true, dweight.row(mine.begin), dweight.stride);
      });
      return;
    }
    for_share(dweight.rows, kUnit, [&](IndexRange mine) {
      multiply_left_transposed(mine.end - mine.begin, x.cols, dy.rows, dy.data + mine.begin,
                               dy.stride, x.data, x.stride, 1.0f, dweight.row(mine.begin),
                               dweight.stride);
    });
  }

  void bias(ConstActivations dy, float* dbias, Stream&) override {
    for_share(dy.cols, kUnit, [&](IndexRange mine) {
      for (std::int64_t t = 0; t < dy.rows; ++t) {
        sum_rows(dbias + mine.begin, dy.row(t) + mine.begin, mine.end - mine.begin,
                 dbias + mine.begin);
      }
    });
  }

  void norm(const NormGradientArgs& args, Stream&) override {
    check_norm("norm gradient", args.x.cols, args.norm);
    check_same_shape("norm gradient", args.x, args.dy);
    if (args.dx.data) check_same_shape("norm gradient", args.x, args.dx);
    auto* moments = moments_.reserve<RowMoments>(args.x.rows);
    for_rows(args.x.rows, [&](std::int64_t t) {
      moments[t] = row_moments(args.x.row(t), args.x.cols, args.norm);
    });
    // Parameters first: dx may be dy.
    if (args.dweight || args.dbias) {
      for_share(args.x.cols, kUnit, [&](IndexRange mine) { norm_parameters(args, moments, mine); });
    }
    if (!args.dx.data) return;
    for_rows(args.x.rows, [&](std::int64_t t) {
      norm_gradient_row(args.x.row(t), args.dy.row(t), args.x.cols, args.norm, moments[t],
                        args.accumulate, args.dx.row(t));
    });
  }

  void attention(const AttentionGradientArgs& args, Stream&) override {
    check_attention_gradient(args);
    // Heads that share a KV head share its gradient: one thread takes them all.
    const auto segments = static_cast<std::int64_t>(args.segments.size());
    pool_.run([&](int thread) {
      for (std::int64_t i = thread; i < segments * args.cache.kv_heads; i += pool_.size()) {
        attention_gradient(args, args.segments[i / args.cache.kv_heads], i % args.cache.kv_heads,
                           operand_type_, scratch_[thread]);
      }
    });
  }

  void store_kv(const StoreKvGradientArgs& args, Stream&) override {
    check_store_kv_gradient(args);
    for (const Segment& s : args.segments) {
      if (args.rope) for_rows(s.length, [&](std::int64_t i) { unrotate(args, s, i); });
    }
    if (args.q_norm) head_norms(args, 0, args.q_heads, *args.q_norm, args.dq_norm);
    if (args.k_norm) head_norms(args, args.q_heads, args.kv_heads, *args.k_norm, args.dk_norm);
  }

  double difference(const DifferenceArgs& args, Stream&) override {
    check_same_shape("difference", args.a, args.b);
    check_same_shape("difference", args.a, args.diff);
    return sum_over_rows(args.a.rows, [&](std::int64_t t) {
      const std::int64_t cols = args.a.cols;
      const float weight = args.weight ? args.weight[t] : 1.0f;
      float* diff = args.diff.row(t);
      const double squares =
          weight * difference_row(args.a.row(t), args.b.row(t), cols, args.scale * weight, diff);
      if (!args.damped) return squares;
      scale_row(static_cast<float>(1.0 / (1.0 + squares)), cols, diff);
      return std::log1p(squares);
    });
  }

  double divergence(const DivergenceGradientArgs& args, Stream&) override {
    check_same_shape("divergence", args.teacher, args.student);
    check_same_shape("divergence", args.teacher, args.dstudent);
    return sum_over_rows(args.teacher.rows, [&](std::int64_t t) {
      return divergence_row(args.teacher.row(t), args.student.row(t),
                            static_cast<float>(args.teacher_log_sum_exp[t]),
                            static_cast<float>(args.student_log_sum_exp[t]), args.teacher.cols,
                            args.scale, args.dstudent.row(t));
    });
  }

  double sum_of_squares(const float* values, std::int64_t count, Stream&) override {
    return sum_over_rows((count + kSumChunk - 1) / kSumChunk, [&](std::int64_t i) {
      const std::int64_t begin = i * kSumChunk;
      return sum_of_squares_row(values + begin, std::min(kSumChunk, count - begin));
    });
  }

  void adam(const AdamArgs& args, Stream&) override {
    for_share(args.count, kUnit, [&](IndexRange mine) {
      // Rounded while they are in the first-level cache.
      for (std::int64_t i = mine.begin; i < mine.end; i += kAdamChunk) {
        const std::int64_t end = std::min(i + kAdamChunk, mine.end);
        adam_range(args, i, end);
        if (args.rounded) {
          round(args.weight + i, end - i, args.rounded + i);
        }
      }
    });
  }

 private:
  /// body(row) for every row, shared among the threads.
  template <class Body>
  void for_rows(std::int64_t rows, Body&& body) {
    for_share(rows, 1, [&](IndexRange mine) {
      for (std::int64_t t = mine.begin; t < mine.end; ++t) body(t);
    });
  }

  /// body(range) for every thread's share of [0, count).
  template <class Body>
  void for_share(std::int64_t count, std::int64_t unit, Body&& body) {
    if (count == 0) return;
    pool_.run([&](int thread) {
      const IndexRange mine = split_range(count, unit, thread, pool_.size());
      if (mine.begin < mine.end) body(mine);
    });
  }

  /// The sum of value(row), added up in the order of the rows whatever the threads.
  template <class Value>
  double sum_over_rows(std::int64_t rows, Value&& value) {
    row_sums_.resize(rows);
    for_rows(rows, [&](std::int64_t t) { row_sums_[t] = value(t); });
    return std::accumulate(row_sums_.begin(), row_sums_.end(), 0.0);
  }

  void round(const float* from, std::int64_t count, std::uint16_t* to) const {
    if (operand_type_ == DType::bf16) {
      round_to_bf16(from, count, to);
    } else {
      convert_from_f32(from, count, to, DType::bf16);
    }
  }

  /// A copy in bf16, in `to`, without room between the rows.
  Bf16Operand rounded(ConstActivations x, Scratch& to) {
    auto* copy = to.reserve<std::uint16_t>(x.rows * x.cols);
    for_rows(x.rows, [&](std::int64_t t) { round(x.row(t), x.cols, copy + t * x.cols); });
    return {copy, x.cols};
  }

  static void norm_parameters(const NormGradientArgs& args, const RowMoments* moments,
                              IndexRange columns) {
    for (std::int64_t t = 0; t < args.x.rows; ++t) {
      const float* x = args.x.row(t);
      const float* dy = args.dy.row(t);
      if (args.dweight) {
        for (std::int64_t i = columns.begin; i < columns.end; ++i) {
          args.dweight[i] += dy[i] * (x[i] - moments[t].mean) * moments[t].scale;
        }
      }
      if (args.dbias) {
        sum_rows(args.dbias + columns.begin, dy + columns.begin, columns.end - columns.begin,
                 args.dbias + columns.begin);
      }
    }
  }

  static void unrotate(const StoreKvGradientArgs& args, const Segment& s, std::int64_t i) {
    const std::int64_t half = args.rope->rotary_dim / 2;
    const float* angles = args.rope->cos_sin.as<float>() + (s.position + i) * 2 * half;
    float* head = args.dqkv.row(s.row + i);
    for (std::int64_t h = 0; h < args.q_heads + args.kv_heads; ++h, head += args.head_dim) {
      rotate_head_back(head, angles, angles + half, half);
    }
  }

  /// Each head is a norm of its own over head_dim features, all with the same weights.
  void head_norms(const StoreKvGradientArgs& args, std::int64_t first, std::int64_t heads,
                  const Norm& norm, float* dweight) {
    for (std::int64_t h = first; h < first + heads; ++h) {
      const Activations dhead = args.dqkv.col_range(h * args.head_dim, args.head_dim);
      const ConstActivations x =
          ConstActivations(args.qkv).col_range(h * args.head_dim, args.head_dim);
      auto* moments = moments_.reserve<RowMoments>(x.rows);
      for_rows(x.rows, [&](std::int64_t t) { moments[t] = row_moments(x.row(t), x.cols, norm); });
      const NormGradientArgs one{
          .x = x, .norm = norm, .dy = dhead, .dx = {}, .accumulate = false, .dweight = dweight};
      if (dweight) norm_parameters(one, moments, {0, args.head_dim});
      for_rows(x.rows, [&](std::int64_t t) {
        norm_gradient_row(x.row(t), dhead.row(t), x.cols, norm, moments[t], false, dhead.row(t));
      });
    }
  }

  ThreadPool pool_;
  DType operand_type_;
  Scratch rounded_dy_, rounded_x_;
  Scratch moments_;               // of the rows at hand
  std::vector<double> row_sums_;  // of the rows at hand
  std::vector<Scratch> scratch_;  // one a thread
};

}  // namespace

std::unique_ptr<Gradients> make_cpu_gradients(const CpuOptions& options) {
  return std::make_unique<CpuGradients>(options);
}

}  // namespace spd
