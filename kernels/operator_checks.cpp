#include "kernels/operator_checks.h"

#include <fmt/format.h>

#include "kernels/device/error.h"

namespace spd {

namespace {

template <class... Args>
void require(bool holds, const char* op, fmt::format_string<Args...> format, Args&&... args) {
  if (!holds) {
    throw Error(ErrorCode::internal,
                fmt::format("{}: {}", op, fmt::format(format, std::forward<Args>(args)...)));
  }
}

void check_view(const char* op, const char* what, ConstActivations view) {
  require(view.rows >= 0 && view.cols >= 0 && (view.rows <= 1 || view.stride >= view.cols), op,
          "{} is [{}, {}] with a stride of {}", what, view.rows, view.cols, view.stride);
  require(view.data != nullptr || view.rows * view.cols == 0, op, "{} has no data", what);
}

void check_cache(const char* op, const KvLayer& cache) {
  require(cache.keys != nullptr && cache.values != nullptr, op, "the cache has no data");
  require(cache.slots > 0 && cache.kv_heads > 0 && cache.capacity > 0 && cache.head_dim > 0, op,
          "the cache is [{}, {}, {}, {}]", cache.slots, cache.kv_heads, cache.capacity,
          cache.head_dim);
  require(cache.dtype != DType::i8, op, "a cache in i8");
}

void check_segments(const char* op, std::span<const Segment> segments, std::int64_t rows,
                    const KvLayer& cache) {
  for (const Segment& s : segments) {
    require(s.row >= 0 && s.length >= 0 && s.row + s.length <= rows, op,
            "segment rows [{}, {}) lie beyond the {} rows of the step", s.row, s.row + s.length,
            rows);
    require(s.slot >= 0 && s.slot < cache.slots, op, "slot {} of a cache of {} slots", s.slot,
            cache.slots);
    require(s.position >= 0 && s.position + s.length <= cache.capacity, op,
            "positions [{}, {}) lie beyond the cache's capacity of {}", s.position,
            s.position + s.length, cache.capacity);
  }
}

}  // namespace

void check_same_shape(const char* op, ConstActivations a, ConstActivations b) {
  check_view(op, "the first operand", a);
  check_view(op, "the second operand", b);
  require(a.rows == b.rows && a.cols == b.cols, op, "shapes [{}, {}] and [{}, {}] differ", a.rows,
          a.cols, b.rows, b.cols);
}

void check_norm(const char* op, std::int64_t features, const Norm& norm) {
  require(norm.weight != nullptr, op, "a norm over {} features has no weight", features);
  require(features > 0, op, "a norm over no features");
}

void check_linear(const LinearArgs& args) {
  constexpr const char* kOp = "linear";
  require(args.weight != nullptr, kOp, "no weight given");
  const Weight& w = *args.weight;
  check_view(kOp, "x", args.x);
  check_view(kOp, "y", args.y);
  require(w.stride >= w.cols && w.storage.bytes() >= w.rows * w.stride * size_of(w.dtype), kOp,
          "a weight of [{}, {}], stride {}, in {} bytes", w.rows, w.cols, w.stride,
          w.storage.bytes());
  require(w.dtype != DType::i8 || w.scales.bytes() >= w.rows * sizeof(float), kOp,
          "a weight of {} rows in i8 has {} bytes of scales", w.rows, w.scales.bytes());
  require(args.x.cols == w.cols, kOp, "x has {} features, the weight takes {}", args.x.cols,
          w.cols);
  const std::int64_t out = is_gated(args.epilogue) ? w.rows / 2 : w.rows;
  require(!is_gated(args.epilogue) || w.rows % 2 == 0, kOp, "a gated weight of {} rows, not even",
          w.rows);
  require(args.y.cols == out, kOp, "y has {} features, the weight gives {}", args.y.cols, out);
  require(args.y.rows == args.x.rows, kOp, "x has {} tokens, y {}", args.x.rows, args.y.rows);
  if (args.norm) check_norm(kOp, args.x.cols, *args.norm);
  if (args.plus.given()) {
    check_same_shape(kOp, args.plus.a, args.y);
    check_same_shape(kOp, args.plus.b, args.y);
    require(args.epilogue == Epilogue::none && !args.accumulate, kOp,
            "addends of a product that is activated or accumulated");
  }
  if (!args.side.weight) return;
  const DType side = args.side.weight->dtype;
  require(side == w.dtype || (side == DType::i8 && w.dtype == DType::bf16), kOp,
          "the side product's weight is {} beside {}", name(side), name(w.dtype));
  check_linear(side_of(args));
}

void check_rows(const Weight& weight, std::int64_t first, std::int64_t count,
                std::int64_t host_stride) {
  require(first >= 0 && count >= 0 && first + count <= weight.rows, "fill_rows",
          "rows [{}, {}) of a weight of {} rows", first, first + count, weight.rows);
  require(count <= 1 || host_stride >= weight.cols, "fill_rows",
          "a host stride of {} for rows of {} elements", host_stride, weight.cols);
}

void check_store_kv(const StoreKvArgs& args) {
  constexpr const char* kOp = "store_kv";
  check_view(kOp, "qkv", args.qkv);
  check_cache(kOp, args.cache);
  const KvLayer& cache = args.cache;
  require(
      args.q_heads >= 0 && args.qkv.cols == (args.q_heads + 2 * cache.kv_heads) * cache.head_dim,
      kOp, "qkv has {} features, {} query and {} KV heads of {} need {}", args.qkv.cols,
      args.q_heads, cache.kv_heads, cache.head_dim,
      (args.q_heads + 2 * cache.kv_heads) * cache.head_dim);
  check_segments(kOp, args.segments, args.qkv.rows, cache);
  if (args.q_norm) check_norm(kOp, cache.head_dim, *args.q_norm);
  if (args.k_norm) check_norm(kOp, cache.head_dim, *args.k_norm);
  if (!args.rope) return;
  const RopeTable& rope = *args.rope;
  require(rope.rotary_dim > 0 && rope.rotary_dim % 2 == 0 && rope.rotary_dim <= cache.head_dim, kOp,
          "{} rotary dimensions in a head of {}", rope.rotary_dim, cache.head_dim);
  require(rope.cos_sin.bytes() >= rope.positions * rope.rotary_dim * sizeof(float), kOp,
          "a rotary table of {} bytes for {} positions", rope.cos_sin.bytes(), rope.positions);
  for (const Segment& s : args.segments) {
    require(s.position + s.length <= rope.positions, kOp,
            "position {} lies beyond the rotary table's {}", s.position + s.length - 1,
            rope.positions);
  }
}

void check_attention(const AttentionArgs& args) {
  constexpr const char* kOp = "attention";
  check_view(kOp, "q", args.q);
  check_view(kOp, "out", args.out);
  check_cache(kOp, args.cache);
  check_same_shape(kOp, args.q, args.out);
  const auto q_heads = static_cast<std::int64_t>(args.kv_head_of.size());
  require(args.q.cols == q_heads * args.cache.head_dim, kOp,
          "q has {} features, {} query heads of {} need {}", args.q.cols, q_heads,
          args.cache.head_dim, q_heads * args.cache.head_dim);
  for (std::int32_t head : args.kv_head_of) {
    require(head >= 0 && head < args.cache.kv_heads, kOp, "KV head {} of {}", head,
            args.cache.kv_heads);
  }
  require(args.window >= 0, kOp, "a window of {}", args.window);
  check_segments(kOp, args.segments, args.q.rows, args.cache);
}

void check_gather(const HostTable& table, std::span<const std::int32_t> ids, ConstActivations out) {
  constexpr const char* kOp = "gather_rows";
  check_view(kOp, "out", out);
  require(out.cols == table.cols, kOp, "rows of {} elements into {} features", table.cols,
          out.cols);
  require(out.rows == static_cast<std::int64_t>(ids.size()), kOp, "{} ids into {} rows", ids.size(),
          out.rows);
  require(table.data != nullptr || ids.empty(), kOp, "the table has no data");
  for (std::int32_t id : ids) {
    require(id >= 0 && id < table.rows, kOp, "row {} of a table of {}", id, table.rows);
  }
}

void check_top_k(ConstActivations logits, std::int64_t k) {
  check_view("top_k", "logits", logits);
  require(k >= 0 && k <= logits.cols, "top_k", "the {} largest of {} logits", k, logits.cols);
}

void check_activation(const char* op, Epilogue epilogue, ConstActivations pre, ConstActivations y) {
  check_view(op, "the argument", pre);
  check_view(op, "the result", y);
  const std::int64_t wanted = is_gated(epilogue) ? 2 * y.cols : y.cols;
  require(pre.rows == y.rows && pre.cols == wanted, op, "[{}, {}] makes no [{}, {}]", pre.rows,
          pre.cols, y.rows, y.cols);
}

void check_linear_input(ConstActivations dy, const Weight& weight, ConstActivations dx) {
  constexpr const char* kOp = "linear_input";
  check_view(kOp, "dy", dy);
  check_view(kOp, "dx", dx);
  require(weight.dtype == DType::f32 || weight.dtype == DType::bf16, kOp,
          "the weight is neither f32 nor bf16");
  require(dy.rows == dx.rows && dy.cols == weight.rows && dx.cols == weight.cols, kOp,
          "dy [{}, {}] and a weight [{}, {}] make no dx [{}, {}]", dy.rows, dy.cols, weight.rows,
          weight.cols, dx.rows, dx.cols);
}

void check_linear_weight(ConstActivations dy, ConstActivations x, ConstActivations dweight) {
  constexpr const char* kOp = "linear_weight";
  check_view(kOp, "dy", dy);
  check_view(kOp, "x", x);
  check_view(kOp, "dweight", dweight);
  require(dy.rows == x.rows && dweight.rows == dy.cols && dweight.cols == x.cols, kOp,
          "dy [{}, {}] and x [{}, {}] make no dweight [{}, {}]", dy.rows, dy.cols, x.rows, x.cols,
          dweight.rows, dweight.cols);
}

void check_attention_gradient(const AttentionGradientArgs& args) {
  constexpr const char* kOp = "attention gradient";
  check_cache(kOp, args.cache);
  require(args.cache.dtype == DType::f32, kOp, "the cache is not f32");
  check_same_shape(kOp, args.q, args.out);
  check_same_shape(kOp, args.q, args.dout);
  check_segments(kOp, args.segments, args.q.rows, args.cache);
  for (const Segment& s : args.segments) {
    require(s.position == 0, kOp, "a segment begins at position {}, not 0", s.position);
  }
  const auto heads = static_cast<std::int64_t>(args.kv_head_of.size());
  require(args.q.cols == heads * args.cache.head_dim, kOp, "q has {} columns, not {} heads of {}",
          args.q.cols, heads, args.cache.head_dim);
  require(args.dqkv.rows == args.q.rows &&
              args.dqkv.cols == (heads + 2 * args.cache.kv_heads) * args.cache.head_dim,
          kOp, "dqkv is [{}, {}]", args.dqkv.rows, args.dqkv.cols);
}

void check_store_kv_gradient(const StoreKvGradientArgs& args) {
  constexpr const char* kOp = "store_kv_gradient";
  check_view(kOp, "dqkv", args.dqkv);
  require(args.dqkv.cols == (args.q_heads + 2 * args.kv_heads) * args.head_dim, kOp,
          "dqkv has {} columns, not {} + 2 * {} heads of {}", args.dqkv.cols, args.q_heads,
          args.kv_heads, args.head_dim);
  if (args.q_norm || args.k_norm) check_same_shape(kOp, args.dqkv, args.qkv);
  if (!args.rope) return;
  require(args.rope->rotary_dim <= args.head_dim, kOp, "{} of {} dimensions rotate",
          args.rope->rotary_dim, args.head_dim);
  for (const Segment& s : args.segments) {
    require(s.row >= 0 && s.row + s.length <= args.dqkv.rows, kOp,
            "segment rows [{}, {}) lie beyond the {} rows of the step", s.row, s.row + s.length,
            args.dqkv.rows);
    require(s.position + s.length <= args.rope->positions, kOp, "position {} of a table of {}",
            s.position + s.length - 1, args.rope->positions);
  }
}

}  // namespace spd
