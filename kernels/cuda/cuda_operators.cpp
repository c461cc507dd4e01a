#include "kernels/cuda/cuda_operators.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_weight.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cuda_error.h"
#include "kernels/cuda/cuda_linear.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/logits.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/step_table.h"
#include "kernels/cuda/store_kv.h"
#include "kernels/cuda/workspace.h"
#include "kernels/device/error.h"
#include "kernels/operator_checks.h"

namespace spd::cuda {

namespace {

Rows<const float> rows_of(ConstActivations view) { return {view.data, view.stride}; }
Rows<float> rows_of(Activations view) { return {view.data, view.stride}; }
Extent extent_of(ConstActivations view) { return {view.rows, view.cols}; }

HeadNorm head_norm(const Norm* norm) {
  if (!norm) return {};
  return {norm->weight, norm->bias, norm->epsilon, norm->kind == NormKind::layer};
}

CacheView view_of(const KvLayer& cache) {
  return {.keys = cache.keys,
          .values = cache.values,
          .type = cache.dtype,
          .kv_heads = static_cast<int>(cache.kv_heads),
          .head_dim = static_cast<int>(cache.head_dim),
          .block_size = static_cast<int>(cache.capacity)};
}

class CudaOperators final : public Operators {
 public:
  explicit CudaOperators(CudaDevice& device)
      : device_(device),
        linear_(device),
        steps_(device),
        partial_(device),
        keys_(device),
        results_(device),
        gathered_(device) {}

  Device& device() override { return device_; }
  int parallelism() const override { return 1; }

  // Rows padded as on the CPU: a row starts a 64-byte line and ends with a whole vector.
  Weight make_weight(DType dtype, std::int64_t rows, std::int64_t cols) override {
    return make_cpu_weight(device_, dtype, rows, cols);
  }

  void fill_rows(Weight& weight, std::int64_t first, const void* host, std::int64_t count,
                 std::int64_t host_stride, Stream& stream) override {
    check_rows(weight, first, count, host_stride);
    if (count == 0) return;
    if (weight.dtype != DType::i8) {
      upload_rows(weight, first, host, count, host_stride, stream);
      return;
    }
    std::vector<std::int8_t> rounded(count * weight.cols);
    std::vector<float> scales(count);
    for (std::int64_t r = 0; r < count; ++r) {
      const float* const row = static_cast<const float*>(host) + r * host_stride;
      scales[r] = i8_scale(row, weight.cols);
      for (std::int64_t i = 0; i < weight.cols; ++i) {
        rounded[r * weight.cols + i] = f32_to_i8(row[i], scales[r]);
      }
    }
    upload_rows(weight, first, rounded.data(), count, weight.cols, stream);
    device_.upload(weight.scales.as<float>() + first, scales.data(), count * sizeof(float), stream);
  }

  void begin_step(std::span<const Segment> segments, std::int64_t rows, Stream& stream) override {
    steps_.rows(segments, rows, stream);
  }

  void read(std::span<const Weight* const> weights, Stream& stream) override {
    auto* const sink = results_.get<std::uint32_t>(1);
    const Queue queue = device_.queue(stream);
    for (const Weight* weight : weights) {
      read_through(weight->storage.data(), static_cast<std::int64_t>(weight->storage.bytes()), sink,
                   queue);
    }
    stream.synchronize();
  }

  void gather_rows(const HostTable& table, std::span<const std::int32_t> ids, Activations out,
                   Stream& stream) override {
    check_gather(table, ids, out);
    if (ids.empty()) return;
    const std::size_t row_bytes = table.cols * size_of(table.dtype);
    std::vector<std::byte> rows(ids.size() * row_bytes);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::memcpy(rows.data() + i * row_bytes,
                  static_cast<const std::byte*>(table.data) + ids[i] * row_bytes, row_bytes);
    }
    auto* const staged = gathered_.get<std::byte>(static_cast<std::int64_t>(rows.size()));
    device_.upload(staged, rows.data(), rows.size(), stream);
    cuda::gather_rows(staged, table.dtype, nullptr, rows_of(out), extent_of(out),
                      device_.queue(stream));
  }

  void norm(ConstActivations x, const Norm& norm, Activations out, Stream& stream) override {
    check_same_shape("norm", x, out);
    check_norm("norm", x.cols, norm);
    norm_rows({.x = rows_of(x),
               .tokens = x.rows,
               .cols = static_cast<int>(x.cols),
               .norm = &norm,
               .out = out.data,
               .out_stride = out.stride},
              device_.queue(stream));
  }

  void linear(const LinearArgs& args, Stream& stream) override {
    check_linear(args);
    linear_.run(args, stream);
  }

  void store_kv(const StoreKvArgs& args, Stream& stream) override {
    check_store_kv(args);
    if (args.qkv.rows == 0) return;
    const StepTable::Step step = steps_.rows(args.segments, args.qkv.rows, stream);
    cuda::store_kv({.qkv = rows_of(args.qkv),
                    .rows = step.rows,
                    .tokens = args.qkv.rows,
                    .q_heads = static_cast<int>(args.q_heads),
                    .q_norm = head_norm(args.q_norm),
                    .k_norm = head_norm(args.k_norm),
                    .cos_sin = args.rope ? args.rope->cos_sin.as<const float>() : nullptr,
                    .rotary_dim = args.rope ? static_cast<int>(args.rope->rotary_dim) : 0,
                    .cache = view_of(args.cache)},
                   device_.queue(stream));
  }

  void attention(const AttentionArgs& args, Stream& stream) override {
    check_attention(args);
    if (args.q.rows == 0 || args.kv_head_of.empty()) return;
    if (args.cache.head_dim > kMostHeadDim) {
      throw Error(ErrorCode::device,
                  fmt::format("attention: heads of {} dimensions, the GPU's kernels take {}",
                              args.cache.head_dim, kMostHeadDim),
                  "use --device cpu");
    }
    const StepTable::Step step = steps_.rows(args.segments, args.q.rows, stream);
    const StepTable::Groups groups = steps_.groups(args.kv_head_of, stream);
    const bool tiled = step.tile_count > 0 && takes_prefill(view_of(args.cache));
    if (tiled) attend_tiles(args, step, groups, stream);
    if (!tiled || step.singles) attend_rows(args, step, groups, tiled, stream);
  }

  void add(ConstActivations x, Activations y, Stream& stream) override {
    sum(y, x, nullptr, y, stream);
  }

  void sum(ConstActivations a, ConstActivations b, const float* bias, Activations out,
           Stream& stream) override {
    check_same_shape("sum", a, b);
    check_same_shape("sum", a, out);
    sum_rows(rows_of(a), rows_of(b), bias, rows_of(out), extent_of(a), device_.queue(stream));
  }

  void add_bias(const float* bias, Activations y, Stream& stream) override {
    sum_rows(rows_of(ConstActivations(y)), {}, bias, rows_of(y), extent_of(y),
             device_.queue(stream));
  }

  void copy(ConstActivations from, Activations to, Stream& stream) override {
    check_same_shape("copy", from, to);
    sum_rows(rows_of(from), {}, nullptr, rows_of(to), extent_of(from), device_.queue(stream));
  }

  void fill(Activations y, float value, Stream& stream) override {
    cuda::fill_rows(rows_of(y), value, extent_of(y), device_.queue(stream));
  }

  std::vector<Candidate> top_k(ConstActivations logits, std::int64_t k, Stream& stream) override {
    check_top_k(logits, k);
    std::vector<Candidate> result(logits.rows * k);
    if (result.empty()) return result;
    const LogitArgs args{rows_of(logits), logits.rows, static_cast<int>(logits.cols)};
    const auto count = static_cast<int>(k);
    auto* const found = results_.get<Candidate>(static_cast<std::int64_t>(result.size()));
    cuda::top_k(args, count,
                keys_.get<Key>(key_count(args.rows, args.cols, count, device_.multiprocessors())),
                found, device_.queue(stream));
    bring_back(result, found, stream);
    return result;
  }

  std::vector<LogSumExp> log_sum_exp(ConstActivations logits, Stream& stream) override {
    std::vector<LogSumExp> result(logits.rows);
    if (result.empty()) return result;
    const LogitArgs args{rows_of(logits), logits.rows, static_cast<int>(logits.cols)};
    const int parts = row_parts(args.rows, args.cols, device_.multiprocessors());
    auto* const found = results_.get<LogSumExp>(args.rows);
    cuda::log_sum_exp(args, keys_.get<LogSumExp>(args.rows * parts), found, device_.queue(stream));
    bring_back(result, found, stream);
    return result;
  }

 private:
  static int window_of(const AttentionArgs& args) {
    return static_cast<int>(std::min<std::int64_t>(args.window, args.cache.capacity));
  }

  void attend_tiles(const AttentionArgs& args, const StepTable::Step& step,
                    const StepTable::Groups& groups, Stream& stream) {
    prefill_attention({.q = rows_of(args.q),
                       .out = rows_of(args.out),
                       .tiles = step.tiles,
                       .tile_count = step.tile_count,
                       .q_heads = static_cast<int>(args.kv_head_of.size()),
                       .kv_head_of = groups.kv_head_of,
                       .scale = args.scale,
                       .window = window_of(args),
                       .cache = view_of(args.cache)},
                      device_.queue(stream));
  }

  /// Row by row; `skips_tiled`: those of tiles have been done.
  void attend_rows(const AttentionArgs& args, const StepTable::Step& step,
                   const StepTable::Groups& groups, bool skips_tiled, Stream& stream) {
    const std::int64_t longest =
        args.window > 0 ? std::min(args.window, step.longest) : step.longest;
    DecodeArgs decode{.q = rows_of(args.q),
                      .out = rows_of(args.out),
                      .rows = step.rows,
                      .tokens = args.q.rows,
                      .skips_tiled = skips_tiled,
                      .q_heads = static_cast<int>(args.kv_head_of.size()),
                      .groups = groups.groups,
                      .group_count = groups.count,
                      .widest_group = groups.widest,
                      .scale = args.scale,
                      .window = window_of(args),
                      .cache = view_of(args.cache)};
    decode.splits = choose_splits(decode.tokens, groups.count, longest, device_.multiprocessors());
    if (decode.splits > 1) {
      decode.partial = partial_.get<float>(
          partial_floats(decode.tokens, decode.q_heads, decode.splits, decode.cache.head_dim));
    }
    decode_attention(decode, device_.queue(stream));
  }

  void upload_rows(Weight& weight, std::int64_t first, const void* host, std::int64_t count,
                   std::int64_t host_stride, Stream& stream) {
    const std::size_t element = size_of(weight.dtype);
    device_.use();
    check(cudaMemcpy2DAsync(weight.storage.as<std::byte>() + first * weight.stride * element,
                            weight.stride * element, host,
                            static_cast<std::size_t>(std::max(host_stride, weight.cols)) * element,
                            weight.cols * element, count, cudaMemcpyHostToDevice,
                            CudaDevice::handle(stream)),
          "copying weights to the GPU");
  }

  template <class T>
  void bring_back(std::vector<T>& to, const T* from, Stream& stream) {
    device_.download(to.data(), from, to.size() * sizeof(T), stream);
    stream.synchronize();
  }

  CudaDevice& device_;
  CudaLinear linear_;
  StepTable steps_;
  Workspace partial_, keys_, results_, gathered_;
};

}  // namespace

std::unique_ptr<Operators> make_cuda_operators(CudaDevice& device) {
  return std::make_unique<CudaOperators>(device);
}

}  // namespace spd::cuda
