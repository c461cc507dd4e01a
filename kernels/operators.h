// The operator interface: everything a decoder block computes on one rank, device-neutral.
//
// Conventions. Activations are f32, [tokens, features], row-major. Weights are [out, in],
// row-major, f32, bf16 or f16, and are multiplied with f32 accumulation. Every operator is put on a
// stream and may return before it is done (on the CPU it is done). Operators never allocate on the
// hot path beyond workspaces that grow to the largest shape seen. One instance serves one rank: its
// methods are called from one thread at a time. Shapes that do not fit throw internal Error.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/device/device.h"
#include "kernels/device/dtype.h"
#include "kernels/matrix_view.h"

namespace spd {

/// A weight on the device. Rows are padded with zeros to `stride` elements (kernels read whole
/// vectors). Made by Operators::make_weight, filled by Operators::fill_rows.
struct Weight {
  Buffer storage;
  Buffer scales;  ///< f32 [rows], what a row is multiplied by; i8 only
  DType dtype = DType::f32;
  std::int64_t rows = 0;    ///< output features
  std::int64_t cols = 0;    ///< input features
  std::int64_t stride = 0;  ///< elements from row to row
  std::int64_t elements() const { return rows * cols; }
};

/// What a weight of this type is filled from: rows of i8 are made of f32.
constexpr DType host_type(DType weight) { return weight == DType::i8 ? DType::f32 : weight; }

enum class NormKind { rms, layer };

/// y = (x - mean) / sqrt(var + eps) * weight + bias for `layer`; without mean and bias for `rms`.
struct Norm {
  NormKind kind = NormKind::rms;
  const float* weight = nullptr;  ///< device, [features]
  const float* bias = nullptr;    ///< device, [features]; layer only, may be null
  float epsilon = 1e-5f;
};

/// What happens to a product before it is stored.
enum class Epilogue {
  none,
  relu,
  gelu,       ///< exact (erf)
  gelu_tanh,  ///< tanh approximation
  silu,
  gated_silu,       ///< weight is [2n, in], gate rows first: y[n] = silu(gate) * up
  gated_gelu_tanh,  ///< the same with gelu_tanh
};
constexpr bool is_gated(Epilogue epilogue) {
  return epilogue == Epilogue::gated_silu || epilogue == Epilogue::gated_gelu_tanh;
}

/// A second, plain product of the same (normed) x, made in the same pass over it. Its weight has
/// the main weight's input features, and its type or, beside bf16, i8.
struct SideProduct {
  const Weight* weight = nullptr;  ///< [out, in]; null: none
  bool accumulate = false;
  Activations y;  ///< [tokens, out]
};

/// What a product is added to, [tokens, out] each: y = a + b + product, in one pass over y.
struct Addends {
  ConstActivations a, b;
  bool given() const { return a.data != nullptr; }
};

struct LinearArgs {
  ConstActivations x;              ///< [tokens, in]
  const Norm* norm = nullptr;      ///< applied to x first, if given
  const Weight* weight = nullptr;  ///< [out, in] ([2 * out, in] where gated)
  const float* bias = nullptr;  ///< device, [weight rows], may be null; added before the epilogue
  Epilogue epilogue = Epilogue::none;
  bool accumulate = false;  ///< y += result instead of y = result
  Activations y;            ///< [tokens, out]
  Addends plus = {};        ///< only with Epilogue::none and without accumulate
  SideProduct side = {};
};

/// The side product as a product of its own.
inline LinearArgs side_of(const LinearArgs& args) {
  return {.x = args.x,
          .norm = args.norm,
          .weight = args.side.weight,
          .bias = nullptr,
          .epilogue = Epilogue::none,
          .accumulate = args.side.accumulate,
          .y = args.side.y};
}

/// Precomputed rotary angles, on the device.
struct RopeTable {
  Buffer cos_sin;              ///< f32 [positions, 2, rotary_dim / 2]: cosines, then sines
  std::int64_t positions = 0;  ///< table length; positions beyond it throw
  std::int64_t rotary_dim =
      0;  ///< leading dimensions of a head that rotate, pairs (i, i + rotary_dim/2)
};

/// One layer's KV cache. Keys and values: [slots, kv_heads, capacity, head_dim] each.
struct KvLayer {
  void* keys = nullptr;
  void* values = nullptr;
  DType dtype = DType::f32;
  std::int64_t slots = 0;  ///< sequences that fit
  std::int64_t kv_heads = 0;
  std::int64_t capacity = 0;  ///< positions a slot holds
  std::int64_t head_dim = 0;
};

/// Consecutive rows of a step that belong to one sequence: rows [row, row + length) are the tokens
/// at positions [position, position + length) of the sequence in cache slot `slot`.
struct Segment {
  std::int64_t row = 0;
  std::int64_t length = 0;
  std::int64_t slot = 0;
  std::int64_t position = 0;
};

struct StoreKvArgs {
  Activations qkv;  ///< [tokens, (q_heads + 2 * kv_heads) * head_dim]: q heads, then k, then v
  std::int64_t q_heads = 0;
  const Norm* q_norm = nullptr;  ///< per head, [head_dim] (Qwen3), before the rotation
  const Norm* k_norm = nullptr;
  const RopeTable* rope = nullptr;  ///< null: no rotation (OPT)
  std::span<const Segment> segments;
  KvLayer cache;
};

struct AttentionArgs {
  ConstActivations q;  ///< [tokens, q_heads * head_dim], rotated
  std::span<const Segment> segments;
  std::span<const std::int32_t>
      kv_head_of;  ///< host, [q_heads]: which cache head a query head reads
  float scale = 1.0f;
  std::int64_t window = 0;  ///< sliding window: a token sees the last `window` positions; 0: all
  KvLayer cache;
  Activations out;  ///< [tokens, q_heads * head_dim]
};

/// A row table in host memory, e.g. the token embedding in the mapped checkpoint.
struct HostTable {
  const void* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};

/// One candidate of a top-k: index within the row, and its logit.
struct Candidate {
  std::int32_t index = 0;
  float logit = 0.0f;
};

/// log(sum(exp(row))) kept as max and sum, so that shards of a vocabulary can be combined.
struct LogSumExp {
  float max = 0.0f;
  float sum = 0.0f;  ///< of exp(logit - max)
};

class Operators {
 public:
  Operators() = default;
  Operators(const Operators&) = delete;
  Operators& operator=(const Operators&) = delete;
  virtual ~Operators() = default;

  virtual Device& device() = 0;
  /// Threads (CPU) that one operator uses.
  virtual int parallelism() const = 0;

  /// An all-zero weight of this shape.
  virtual Weight make_weight(DType dtype, std::int64_t rows, std::int64_t cols) = 0;
  /// Copies `count` rows of `weight.cols` elements of host_type(weight.dtype) from host memory
  /// (rows `host_stride` elements apart) to rows [first, first + count).
  virtual void fill_rows(Weight& weight, std::int64_t first, const void* host, std::int64_t count,
                         std::int64_t host_stride, Stream&) = 0;

  /// Announces the segments that store_kv and attention of this step will be given, and its rows:
  /// what devices keep of them is brought there now, to the address where the last step's lay.
  /// Optional, except before a graph that was captured with other positions is launched.
  virtual void begin_step(std::span<const Segment> /*segments*/, std::int64_t /*rows*/, Stream&) {}

  /// Reads the weights from end to end, in order, and does nothing with them: the least that a step
  /// of one token can take. Waits until it is done.
  virtual void read(std::span<const Weight* const> weights, Stream&) = 0;

  /// out[i] = table[ids[i]], converted to f32. `ids` is on the host.
  virtual void gather_rows(const HostTable& table, std::span<const std::int32_t> ids,
                           Activations out, Stream&) = 0;
  /// out = norm(x); out may be x.
  virtual void norm(ConstActivations x, const Norm& norm, Activations out, Stream&) = 0;
  /// y (+)= epilogue(norm(x) * weight^T + bias), with a + b added where given. y must not overlap
  /// x, nor a or b.
  virtual void linear(const LinearArgs& args, Stream&) = 0;
  /// Normalises heads and rotates q and k (q in place, in args.qkv), stores k and v in the cache.
  virtual void store_kv(const StoreKvArgs& args, Stream&) = 0;
  /// Causal attention of each segment's tokens over its slot's cache, which must already hold them.
  virtual void attention(const AttentionArgs& args, Stream&) = 0;

  /// y += x
  virtual void add(ConstActivations x, Activations y, Stream&) = 0;
  /// out = a + b, and in every token bias, if there is one; out may be a or b.
  virtual void sum(ConstActivations a, ConstActivations b, const float* bias, Activations out,
                   Stream&) = 0;
  /// y[t] += bias for every token t.
  virtual void add_bias(const float* bias, Activations y, Stream&) = 0;
  virtual void copy(ConstActivations from, Activations to, Stream&) = 0;
  virtual void fill(Activations y, float value, Stream&) = 0;

  // The following bring results to the host and therefore wait for the stream.

  /// The k largest logits of each row, largest first, ties to the smaller index; k <= cols.
  /// Result: rows * k candidates.
  virtual std::vector<Candidate> top_k(ConstActivations logits, std::int64_t k, Stream&) = 0;
  virtual std::vector<LogSumExp> log_sum_exp(ConstActivations logits, Stream&) = 0;
};

/// What many tokens are multiplied with bf16 weights by, if the processor has it: the latter two
/// round activations to bf16, too, and are faster. Sums stay f32. The first adds up a token's
/// products, and its attention, in one order whichever tokens stand beside it: to the bit the same
/// in any batch and any step, at the price of reading the weights for every few tokens.
enum class MatmulMode : std::uint8_t {
  f32_by_token,
  f32,
  bf16_pairs,  ///< AVX-512-BF16
  bf16_tiles,  ///< AMX-BF16
};

struct CpuOptions {
  int threads = 1;  ///< threads of one rank, the caller's included; >= 1
  std::vector<int> cores =
      {};  ///< cores to pin threads to, thread i on cores[i]; empty: not pinned
  MatmulMode products = MatmulMode::bf16_tiles;  ///< the fastest allowed
};

/// Operators on the CPU. `device` must outlive them.
std::unique_ptr<Operators> make_cpu_operators(Device& device, const CpuOptions& options);
/// The same in the plainest scalar code, f32 or f64 throughout: the oracle that tests compare with.
std::unique_ptr<Operators> make_reference_operators(Device& device);

}  // namespace spd
