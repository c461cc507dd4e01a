#include <algorithm>
#include <cstring>
#include <numeric>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/cpu_linear.h"
#include "kernels/cpu/cpu_weight.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemv_kernels.h"
#include "kernels/cpu/prefill_attention.h"
#include "kernels/cpu/vector_kernels.h"
#include "kernels/cpu/work_split.h"
#include "kernels/device/host_memory.h"
#include "kernels/operator_checks.h"

namespace spd {

namespace {

// Elements of row-wise work below which a second thread costs more than it saves.
constexpr std::int64_t kWorthForking = 32 * 1024;

class CpuOperators final : public Operators {
 public:
  CpuOperators(Device& device, const CpuOptions& options)
      : device_(device),
        pool_(options.threads, options.cores),
        linear_(pool_, options.products),
        by_token_(options.products == MatmulMode::f32_by_token),
        scratch_(pool_.size()) {}

  Device& device() override { return device_; }
  int parallelism() const override { return pool_.size(); }

  Weight make_weight(DType dtype, std::int64_t rows, std::int64_t cols) override {
    return make_cpu_weight(device_, dtype, rows, cols);
  }

  void fill_rows(Weight& weight, std::int64_t first, const void* host, std::int64_t count,
                 std::int64_t host_stride, Stream&) override {
    check_rows(weight, first, count, host_stride);
    fill_cpu_rows(weight, first, host, count, host_stride);
  }

  void read(std::span<const Weight* const> weights, Stream&) override {
    std::vector<std::uint64_t> sums(pool_.size());  // or the reading would be left out
    pool_.run([&](int thread) {
      for (const Weight* weight : weights) {
        constexpr std::int64_t kLine = 64;
        const auto bytes = static_cast<std::int64_t>(weight->storage.bytes());
        const IndexRange mine = split_range(bytes, kLine, thread, pool_.size());
        sums[thread] += sum_words(weight->storage.as<std::byte>() + mine.begin,
                                  static_cast<std::size_t>(mine.end - mine.begin));
      }
    });
    read_sum_ = std::accumulate(sums.begin(), sums.end(), std::uint64_t{0});
  }

  void gather_rows(const HostTable& table, std::span<const std::int32_t> ids, Activations out,
                   Stream&) override {
    check_gather(table, ids, out);
    const auto* data = static_cast<const std::byte*>(table.data);
    const std::size_t row_bytes = table.cols * size_of(table.dtype);
    for_rows(out.rows, out.cols, [&](std::int64_t t) {
      convert_to_f32(data + ids[t] * row_bytes, table.dtype, out.cols, out.row(t));
    });
  }

  void norm(ConstActivations x, const Norm& norm, Activations out, Stream&) override {
    check_same_shape("norm", x, out);
    check_norm("norm", x.cols, norm);
    for_rows(x.rows, x.cols, [&](std::int64_t t) { norm_row(x.row(t), x.cols, norm, out.row(t)); });
  }

  void linear(const LinearArgs& args, Stream&) override {
    check_linear(args);
    linear_.run(args);
  }

  void store_kv(const StoreKvArgs& args, Stream&) override {
    check_store_kv(args);
    for (const Segment& s : args.segments) {
      for_rows(s.length, args.qkv.cols, [&](std::int64_t i) { store_token(args, s, i); });
    }
  }

  void attention(const AttentionArgs& args, Stream&) override {
    check_attention(args);
    const auto heads = static_cast<std::int64_t>(args.kv_head_of.size());
    for (Scratch& scratch : scratch_) scratch.reserve(args.cache.capacity);
    pool_.run([&](int thread) {
      for (const Segment& s : args.segments) {
        if (s.length >= kPrefillFrom && !by_token_) {
          attend_blocks(args, s, heads, thread);
          continue;
        }
        const IndexRange mine = split_range(s.length * heads, 1, thread, pool_.size());
        for (std::int64_t i = mine.begin; i < mine.end; ++i) {
          attend_head(args, s, i / heads, i % heads, scratch_[thread].data());
        }
      }
    });
  }

  void add(ConstActivations x, Activations y, Stream& stream) override {
    sum(y, x, nullptr, y, stream);
  }

  void sum(ConstActivations a, ConstActivations b, const float* bias, Activations out,
           Stream&) override {
    check_same_shape("sum", a, b);
    check_same_shape("sum", a, out);
    for_rows(a.rows, a.cols, [&](std::int64_t t) {
      sum_rows(a.row(t), b.row(t), a.cols, out.row(t));
      if (bias) sum_rows(out.row(t), bias, a.cols, out.row(t));
    });
  }

  void add_bias(const float* bias, Activations y, Stream&) override {
    for_rows(y.rows, y.cols, [&](std::int64_t t) { sum_rows(y.row(t), bias, y.cols, y.row(t)); });
  }

  void copy(ConstActivations from, Activations to, Stream&) override {
    check_same_shape("copy", from, to);
    for_rows(from.rows, from.cols, [&](std::int64_t t) {
      std::memmove(to.row(t), from.row(t), from.cols * sizeof(float));
    });
  }

  void fill(Activations y, float value, Stream&) override {
    for_rows(y.rows, y.cols, [&](std::int64_t t) { std::fill_n(y.row(t), y.cols, value); });
  }

  std::vector<Candidate> top_k(ConstActivations logits, std::int64_t k, Stream&) override {
    check_top_k(logits, k);
    std::vector<Candidate> result(logits.rows * k);
    for_rows(logits.rows, logits.cols, [&](std::int64_t t) {
      top_k_row(logits.row(t), logits.cols, k, result.data() + t * k);
    });
    return result;
  }

  std::vector<LogSumExp> log_sum_exp(ConstActivations logits, Stream&) override {
    std::vector<LogSumExp> result(logits.rows);
    for_rows(logits.rows, logits.cols,
             [&](std::int64_t t) { result[t] = log_sum_exp_row(logits.row(t), logits.cols); });
    return result;
  }

 private:
  /// This thread's share of a long segment. Later blocks see more positions: they are dealt out in
  /// turn, so that every thread gets long and short ones.
  void attend_blocks(const AttentionArgs& args, const Segment& s, std::int64_t heads, int thread) {
    const std::int64_t blocks = (s.length + kQueryBlock - 1) / kQueryBlock;
    for (std::int64_t i = thread; i < blocks * heads; i += pool_.size()) {
      const std::int64_t first = i / heads * kQueryBlock;
      attend_block(args, s, i % heads, first, std::min(kQueryBlock, s.length - first),
                   scratch_[thread]);
    }
  }

  /// body(row) for every row, on as many threads as the work is worth.
  template <class Body>
  void for_rows(std::int64_t rows, std::int64_t cols, Body&& body) {
    if (rows < 2 || rows * cols < kWorthForking) {
      for (std::int64_t t = 0; t < rows; ++t) body(t);
      return;
    }
    pool_.run([&](int thread) {
      const IndexRange mine = split_range(rows, 1, thread, pool_.size());
      for (std::int64_t t = mine.begin; t < mine.end; ++t) body(t);
    });
  }

  static void store_token(const StoreKvArgs& args, const Segment& s, std::int64_t i) {
    const KvLayer& cache = args.cache;
    const std::int64_t position = s.position + i;
    float* head = args.qkv.row(s.row + i);
    const auto turn = [&](const Norm* norm) {
      if (norm) norm_row(head, cache.head_dim, *norm, head);
      if (args.rope) {
        const std::int64_t half = args.rope->rotary_dim / 2;
        const float* angles = args.rope->cos_sin.as<float>() + position * 2 * half;
        rotate_head(head, angles, angles + half, half);
      }
    };
    const auto store = [&](void* to, std::int64_t h) {
      const std::int64_t at =
          ((s.slot * cache.kv_heads + h) * cache.capacity + position) * cache.head_dim;
      convert_from_f32(head, cache.head_dim,
                       static_cast<std::byte*>(to) + at * size_of(cache.dtype), cache.dtype);
    };
    for (std::int64_t h = 0; h < args.q_heads; ++h, head += cache.head_dim) turn(args.q_norm);
    for (std::int64_t h = 0; h < cache.kv_heads; ++h, head += cache.head_dim) {
      turn(args.k_norm);
      store(cache.keys, h);
    }
    for (std::int64_t h = 0; h < cache.kv_heads; ++h, head += cache.head_dim) {
      store(cache.values, h);
    }
  }

  static void attend_head(const AttentionArgs& args, const Segment& s, std::int64_t i,
                          std::int64_t h, float* scores) {
    const KvLayer& cache = args.cache;
    const std::int64_t last = s.position + i;
    const std::int64_t first =
        args.window > 0 ? std::max<std::int64_t>(0, last + 1 - args.window) : 0;
    const std::int64_t at =
        ((s.slot * cache.kv_heads + args.kv_head_of[h]) * cache.capacity + first) * cache.head_dim *
        static_cast<std::int64_t>(size_of(cache.dtype));
    attend({.q = args.q.row(s.row + i) + h * cache.head_dim,
            .keys = static_cast<const std::byte*>(cache.keys) + at,
            .values = static_cast<const std::byte*>(cache.values) + at,
            .dtype = cache.dtype,
            .count = static_cast<std::size_t>(last + 1 - first),
            .head_dim = static_cast<std::size_t>(cache.head_dim),
            .scale = args.scale,
            .scores = scores,
            .out = args.out.row(s.row + i) + h * cache.head_dim});
  }

  Device& device_;
  ThreadPool pool_;
  CpuLinear linear_;
  bool by_token_;
  volatile std::uint64_t read_sum_ = 0;
  std::vector<Scratch> scratch_;  // one a thread
};

}  // namespace

std::unique_ptr<Operators> make_cpu_operators(Device& device, const CpuOptions& options) {
  return std::make_unique<CpuOperators>(device, options);
}

}  // namespace spd
