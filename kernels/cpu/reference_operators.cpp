// Every operator in plain scalar double arithmetic: slow, and obviously right.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>

#include "kernels/cpu/cpu_weight.h"
#include "kernels/operator_checks.h"
#include "kernels/operators.h"

namespace spd {

namespace {

double load(const void* data, DType type, std::int64_t index) {
  switch (type) {
    case DType::f32:
      return static_cast<const float*>(data)[index];
    case DType::bf16:
      return bf16_to_f32(static_cast<const std::uint16_t*>(data)[index]);
    case DType::f16:
      return f16_to_f32(static_cast<const std::uint16_t*>(data)[index]);
    case DType::i8:
      return static_cast<const std::int8_t*>(data)[index];
  }
  return 0.0;
}

void store(void* data, DType type, std::int64_t index, double value) {
  const auto single = static_cast<float>(value);
  switch (type) {
    case DType::f32:
      static_cast<float*>(data)[index] = single;
      break;
    case DType::bf16:
      static_cast<std::uint16_t*>(data)[index] = f32_to_bf16(single);
      break;
    case DType::f16:
      static_cast<std::uint16_t*>(data)[index] = f32_to_f16(single);
      break;
    case DType::i8:  // of weights only
      break;
  }
}

std::vector<double> normalised(const float* x, std::int64_t count, const Norm& norm) {
  std::vector<double> out(x, x + count);
  double mean = 0.0;
  if (norm.kind == NormKind::layer) {
    mean = std::accumulate(out.begin(), out.end(), 0.0) / static_cast<double>(count);
  }
  double squares = 0.0;
  for (double& v : out) {
    v -= mean;
    squares += v * v;
  }
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(count) + norm.epsilon);
  for (std::int64_t i = 0; i < count; ++i) {
    out[i] *= scale * norm.weight[i];
    if (norm.kind == NormKind::layer && norm.bias) out[i] += norm.bias[i];
  }
  return out;
}

double silu(double x) { return x / (1.0 + std::exp(-x)); }
double gelu_tanh(double x) {
  return 0.5 * x *
         (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
}

double activated(Epilogue epilogue, double x) {
  switch (epilogue) {
    case Epilogue::none:
      return x;
    case Epilogue::relu:
      return std::max(x, 0.0);
    case Epilogue::gelu:
      return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2));
    case Epilogue::gelu_tanh:
    case Epilogue::gated_gelu_tanh:
      return gelu_tanh(x);
    case Epilogue::silu:
    case Epilogue::gated_silu:
      return silu(x);
  }
  return x;
}

class ReferenceOperators final : public Operators {
 public:
  explicit ReferenceOperators(Device& device) : device_(device) {}

  Device& device() override { return device_; }
  int parallelism() const override { return 1; }

  Weight make_weight(DType dtype, std::int64_t rows, std::int64_t cols) override {
    return make_cpu_weight(device_, dtype, rows, cols);
  }

  void fill_rows(Weight& weight, std::int64_t first, const void* host, std::int64_t count,
                 std::int64_t host_stride, Stream&) override {
    check_rows(weight, first, count, host_stride);
    fill_cpu_rows(weight, first, host, count, host_stride);
  }

  void read(std::span<const Weight* const>, Stream&) override {}

  void gather_rows(const HostTable& table, std::span<const std::int32_t> ids, Activations out,
                   Stream&) override {
    check_gather(table, ids, out);
    for (std::int64_t t = 0; t < out.rows; ++t) {
      for (std::int64_t i = 0; i < out.cols; ++i) {
        out.row(t)[i] = static_cast<float>(load(table.data, table.dtype, ids[t] * table.cols + i));
      }
    }
  }

  void norm(ConstActivations x, const Norm& norm, Activations out, Stream&) override {
    check_same_shape("norm", x, out);
    check_norm("norm", x.cols, norm);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      const std::vector<double> row = normalised(x.row(t), x.cols, norm);
      std::copy(row.begin(), row.end(), out.row(t));
    }
  }

  void linear(const LinearArgs& args, Stream& stream) override {
    check_linear(args);
    if (args.side.weight) linear(side_of(args), stream);
    for (std::int64_t t = 0; t < args.x.rows; ++t) {
      const std::vector<double> x =
          args.norm ? normalised(args.x.row(t), args.x.cols, *args.norm)
                    : std::vector<double>(args.x.row(t), args.x.row(t) + args.x.cols);
      for (std::int64_t n = 0; n < args.y.cols; ++n) {
        double value = activated(args.epilogue, product(args, x, n));
        if (is_gated(args.epilogue)) value *= product(args, x, n + args.y.cols);
        if (args.plus.given()) value += double{args.plus.a.row(t)[n]} + args.plus.b.row(t)[n];
        float& y = args.y.row(t)[n];
        y = static_cast<float>(args.accumulate ? y + value : value);
      }
    }
  }

  void store_kv(const StoreKvArgs& args, Stream&) override {
    check_store_kv(args);
    const KvLayer& cache = args.cache;
    const std::int64_t heads = args.q_heads + 2 * cache.kv_heads;
    for (const Segment& s : args.segments) {
      for (std::int64_t i = 0; i < s.length; ++i) {
        const std::int64_t position = s.position + i;
        for (std::int64_t h = 0; h < heads; ++h) {
          float* head = args.qkv.row(s.row + i) + h * cache.head_dim;
          const bool query = h < args.q_heads;
          const bool key = !query && h < args.q_heads + cache.kv_heads;
          if (query || key) {
            const Norm* norm = query ? args.q_norm : args.k_norm;
            std::vector<double> values = norm ? normalised(head, cache.head_dim, *norm)
                                              : std::vector<double>(head, head + cache.head_dim);
            if (args.rope) rotate(*args.rope, position, values);
            std::copy(values.begin(), values.end(), head);
          }
          if (query) continue;
          const std::int64_t kv_head = (h - args.q_heads) % cache.kv_heads;
          const std::int64_t at =
              ((s.slot * cache.kv_heads + kv_head) * cache.capacity + position) * cache.head_dim;
          for (std::int64_t d = 0; d < cache.head_dim; ++d) {
            store(key ? cache.keys : cache.values, cache.dtype, at + d, head[d]);
          }
        }
      }
    }
  }

  void attention(const AttentionArgs& args, Stream&) override {
    check_attention(args);
    for (const Segment& s : args.segments) {
      for (std::int64_t i = 0; i < s.length; ++i) {
        for (std::size_t h = 0; h < args.kv_head_of.size(); ++h) {
          attend(args, s, i, static_cast<std::int64_t>(h));
        }
      }
    }
  }

  void add(ConstActivations x, Activations y, Stream& stream) override {
    sum(x, y, nullptr, y, stream);
  }

  void sum(ConstActivations a, ConstActivations b, const float* bias, Activations out,
           Stream&) override {
    check_same_shape("sum", a, b);
    check_same_shape("sum", a, out);
    for (std::int64_t t = 0; t < a.rows; ++t) {
      for (std::int64_t i = 0; i < a.cols; ++i) {
        out.row(t)[i] = a.row(t)[i] + b.row(t)[i] + (bias ? bias[i] : 0.0f);
      }
    }
  }

  void add_bias(const float* bias, Activations y, Stream&) override {
    for (std::int64_t t = 0; t < y.rows; ++t) {
      for (std::int64_t i = 0; i < y.cols; ++i) y.row(t)[i] += bias[i];
    }
  }

  void copy(ConstActivations from, Activations to, Stream&) override {
    check_same_shape("copy", from, to);
    for (std::int64_t t = 0; t < from.rows; ++t) {
      std::copy(from.row(t), from.row(t) + from.cols, to.row(t));
    }
  }

  void fill(Activations y, float value, Stream&) override {
    for (std::int64_t t = 0; t < y.rows; ++t) std::fill(y.row(t), y.row(t) + y.cols, value);
  }

  std::vector<Candidate> top_k(ConstActivations logits, std::int64_t k, Stream&) override {
    check_top_k(logits, k);
    std::vector<Candidate> result;
    std::vector<std::int32_t> order(logits.cols);
    for (std::int64_t t = 0; t < logits.rows; ++t) {
      const float* row = logits.row(t);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
      for (std::int64_t i = 0; i < k; ++i) result.push_back({order[i], row[order[i]]});
    }
    return result;
  }

  std::vector<LogSumExp> log_sum_exp(ConstActivations logits, Stream&) override {
    std::vector<LogSumExp> result;
    for (std::int64_t t = 0; t < logits.rows; ++t) {
      const float* row = logits.row(t);
      const float max = *std::max_element(row, row + logits.cols);
      double sum = 0.0;
      for (std::int64_t i = 0; i < logits.cols; ++i) {
        sum += std::exp(static_cast<double>(row[i]) - max);
      }
      result.push_back({max, static_cast<float>(sum)});
    }
    return result;
  }

 private:
  static double product(const LinearArgs& args, const std::vector<double>& x, std::int64_t n) {
    const Weight& w = *args.weight;
    double sum = 0.0;
    for (std::int64_t i = 0; i < w.cols; ++i) {
      sum += x[i] * load(w.storage.data(), w.dtype, n * w.stride + i);
    }
    if (w.dtype == DType::i8) sum *= w.scales.as<const float>()[n];
    return args.bias ? sum + args.bias[n] : sum;
  }

  static void rotate(const RopeTable& rope, std::int64_t position, std::vector<double>& head) {
    const std::int64_t half = rope.rotary_dim / 2;
    const float* cosines = rope.cos_sin.as<float>() + position * rope.rotary_dim;
    for (std::int64_t i = 0; i < half; ++i) {
      const double a = head[i], b = head[i + half];
      const double cosine = cosines[i], sine = cosines[half + i];
      head[i] = a * cosine - b * sine;
      head[i + half] = b * cosine + a * sine;
    }
  }

  static void attend(const AttentionArgs& args, const Segment& s, std::int64_t i, std::int64_t h) {
    const KvLayer& cache = args.cache;
    const float* q = args.q.row(s.row + i) + h * cache.head_dim;
    const std::int64_t last = s.position + i;
    const std::int64_t first =
        args.window > 0 ? std::max<std::int64_t>(0, last + 1 - args.window) : 0;
    const std::int64_t head_at =
        (s.slot * cache.kv_heads + args.kv_head_of[h]) * cache.capacity * cache.head_dim;
    std::vector<double> scores;
    for (std::int64_t p = first; p <= last; ++p) {
      double dot = 0.0;
      for (std::int64_t d = 0; d < cache.head_dim; ++d) {
        dot += q[d] * load(cache.keys, cache.dtype, head_at + p * cache.head_dim + d);
      }
      scores.push_back(dot * args.scale);
    }
    const double max = *std::max_element(scores.begin(), scores.end());
    double sum = 0.0;
    for (double& score : scores) sum += score = std::exp(score - max);
    for (std::int64_t d = 0; d < cache.head_dim; ++d) {
      double value = 0.0;
      for (std::int64_t p = first; p <= last; ++p) {
        value +=
            scores[p - first] * load(cache.values, cache.dtype, head_at + p * cache.head_dim + d);
      }
      args.out.row(s.row + i)[h * cache.head_dim + d] = static_cast<float>(value / sum);
    }
  }

  Device& device_;
};

}  // namespace

std::unique_ptr<Operators> make_reference_operators(Device& device) {
  return std::make_unique<ReferenceOperators>(device);
}

}  // namespace spd
