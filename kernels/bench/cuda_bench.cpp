// Times of the GPU's operators beside what the device can do: products, attention, decode steps of
// known shapes with random weights, as graphs. See usage() below.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_operators.h"
#include "kernels/cuda/probe.h"
#include "kernels/device/error.h"

namespace spd::cuda {
namespace {

constexpr const char* kUsage = R"(usage: cuda_bench [--small] [--json FILE]
  --small      shapes that an emulated GPU takes a moment for: whether it runs, not how fast
  --json FILE  one line of JSON for each row of the table
)";

struct Row {
  std::string what;
  double seconds;
  double bytes, flops;  // 0: of no account
};

class Bench {
 public:
  explicit Bench(bool small)
      : small_(small), stream_(device_.make_stream()), operators_(make_cuda_operators(device_)) {}

  void run() {
    copies();
    for (const std::int64_t tokens : {1, 2, 4, 8}) {
      for (const auto& [rows, cols] : shapes()) product(tokens, rows, cols);
    }
    product(small_ ? 20 : 2048, small_ ? 64 : 4096, small_ ? 64 : 4096);
    for (const std::int64_t length : small_ ? std::vector<std::int64_t>{20, 300}
                                            : std::vector<std::int64_t>{512, 4096, 32768}) {
      attention(1, length);
    }
    attention(small_ ? 70 : 2048, small_ ? 70 : 2048);
    if (small_) return decode("a small model", {64, 2, 4, 2, 16, 96, 128});
    decode("Llama-2-7B", {4096, 32, 32, 32, 128, 11008, 32000});
    decode("Llama-3.2-1B", {2048, 16, 32, 8, 64, 8192, 128256});
    decode("Llama-3.1-8B", {4096, 32, 32, 8, 128, 14336, 128256});
  }

  void print(std::FILE* json) const {
    fmt::print("{}\n{:<44} {:>12} {:>10} {:>8} {:>10}\n", device_.name(), "what", "us", "GB/s",
               "of copy", "TFLOP/s");
    for (const Row& row : rows_) {
      const double rate = row.bytes / row.seconds, flops = row.flops / row.seconds;
      fmt::print("{:<44} {:>12.1f} {:>10} {:>8} {:>10}\n", row.what, row.seconds * 1e6,
                 row.bytes > 0 ? fmt::format("{:.0f}", rate * 1e-9) : "",
                 row.bytes > 0 ? fmt::format("{:.0f} %", 100 * rate / copy_rate_) : "",
                 row.flops > 0 ? fmt::format("{:.1f}", flops * 1e-12) : "");
      if (!json) continue;
      fmt::print(json,
                 R"({{"device": "{}", "what": "{}", "us": {:.3f}, "gb_s": {:.1f}, )"
                 R"("of_copy": {:.4f}, "tflop_s": {:.2f}}})"
                 "\n",
                 device_.name(), row.what, row.seconds * 1e6, rate * 1e-9, rate / copy_rate_,
                 flops * 1e-12);
    }
  }

 private:
  struct Shape {
    std::int64_t hidden, blocks, heads, kv_heads, head_dim, mlp, vocab;
  };
  struct Block {
    Weight qkv, o, up, down;
    Buffer keys, values;
  };

  std::vector<std::pair<std::int64_t, std::int64_t>> shapes() const {
    if (small_) return {{64, 128}, {100, 64}};
    return {{4096, 4096}, {8192, 1024}, {22016, 4096}, {4096, 11008}, {128256, 4096}};
  }

  /// Seconds of one `work`, as a graph of `count` of them, the best of a few launches.
  double time(int count, const std::function<void(int)>& work) {
    work(0);  // whatever grows has grown
    stream_->begin_capture();
    for (int i = 0; i < count; ++i) work(i);
    const auto graph = stream_->end_capture();
    const auto begin = device_.make_event(), end = device_.make_event();
    double best = 1e30;
    for (int i = 0; i < (small_ ? 2 : 20); ++i) {
      begin->record(*stream_);
      graph->launch(*stream_);
      end->record(*stream_);
      end->synchronize();
      best = std::min(best, end->seconds_since(*begin));
    }
    return std::max(best, 1e-9) / count;
  }

  /// Numbers that are not all the same, and small.
  void fill(const Buffer& buffer) {
    const auto count = static_cast<std::int64_t>(buffer.bytes() / sizeof(float));
    constexpr std::int64_t kCols = 8;
    for (std::int64_t c = 0; c < kCols && count >= kCols; ++c) {
      const auto value = 1e-3f * static_cast<float>(c - 3);
      operators_->fill(Activations(buffer.as<float>() + c, count / kCols, 1, kCols), value,
                       *stream_);
    }
  }
  Weight weight(std::int64_t rows, std::int64_t cols) {
    Weight made = operators_->make_weight(DType::bf16, rows, cols);
    fill(made.storage);
    return made;
  }
  Buffer floats(std::int64_t count) {
    Buffer made(device_, static_cast<std::size_t>(count) * sizeof(float));
    fill(made);
    return made;
  }

  // What a copy moves is what a product could read.
  void copies() {
    const std::size_t bytes = small_ ? 1 << 16 : std::size_t{1} << 30;
    const Buffer from(device_, bytes), to(device_, bytes);
    const double seconds =
        time(4, [&](int) { device_.copy(to.data(), from.data(), bytes, *stream_); });
    copy_rate_ = 2.0 * static_cast<double>(bytes) / seconds;
    rows_.push_back(
        {fmt::format("copy of {} MiB", bytes >> 20), seconds, 2.0 * static_cast<double>(bytes), 0});
  }

  void product(std::int64_t tokens, std::int64_t rows, std::int64_t cols) {
    // Enough weights that no cache holds them.
    const double bytes = 2.0 * static_cast<double>(rows * cols);
    const int count = small_ ? 2 : std::max(2, static_cast<int>(400e6 / bytes) + 1);
    std::vector<Weight> weights;
    for (int i = 0; i < count; ++i) weights.push_back(weight(rows, cols));
    const Buffer x = floats(tokens * cols), y = floats(tokens * rows);
    const double seconds = time(count, [&](int i) {
      operators_->linear({.x = {x.as<const float>(), tokens, cols},
                          .weight = &weights[static_cast<std::size_t>(i)],
                          .y = {y.as<float>(), tokens, rows}},
                         *stream_);
    });
    const bool streams = tokens <= 8;
    rows_.push_back({fmt::format("product, {} x {} -> {}", tokens, cols, rows), seconds,
                     streams ? bytes : 0, 2.0 * static_cast<double>(tokens * rows * cols)});
  }

  void attention(std::int64_t tokens, std::int64_t length) {
    const std::int64_t heads = small_ ? 4 : 32, kv_heads = small_ ? 2 : 8, head_dim = 128;
    Buffer keys(device_, kv_heads * length * head_dim * 2), values(device_, keys.bytes());
    fill(keys);
    fill(values);
    const Buffer q = floats(tokens * heads * head_dim), out = floats(tokens * heads * head_dim);
    std::vector<std::int32_t> map;
    for (std::int64_t h = 0; h < heads; ++h) {
      map.push_back(static_cast<std::int32_t>(h * kv_heads / heads));
    }
    const std::vector<Segment> segments = {{0, tokens, 0, length - tokens}};
    const AttentionArgs args{
        .q = {q.as<const float>(), tokens, heads * head_dim},
        .segments = segments,
        .kv_head_of = map,
        .scale = 0.09f,
        .cache = {keys.data(), values.data(), DType::bf16, 1, kv_heads, length, head_dim},
        .out = {out.as<float>(), tokens, heads * head_dim}};
    const double seconds = time(10, [&](int) { operators_->attention(args, *stream_); });
    const auto pairs = static_cast<double>(tokens) *
                       (static_cast<double>(length) - static_cast<double>(tokens - 1) / 2);
    rows_.push_back({fmt::format("attention, {} token(s) of {}", tokens, length), seconds,
                     tokens == 1 ? 2.0 * static_cast<double>(keys.bytes()) : 0,
                     4.0 * pairs * static_cast<double>(heads * head_dim)});
  }

  void decode(const std::string& name, const Shape& s) {
    constexpr std::int64_t kLength = 300;  // positions that the step's token sees
    const std::int64_t q = s.heads * s.head_dim, kv = s.kv_heads * s.head_dim;
    std::vector<Block> blocks;
    for (std::int64_t i = 0; i < s.blocks; ++i) {
      blocks.push_back({weight(q + 2 * kv, s.hidden), weight(s.hidden, q),
                        weight(2 * s.mlp, s.hidden), weight(s.hidden, s.mlp),
                        Buffer(device_, kLength * kv * 2), Buffer(device_, kLength * kv * 2)});
    }
    const Weight head = weight(s.vocab, s.hidden);
    const Buffer base = floats(s.hidden), qkv = floats(q + 2 * kv), mixed = floats(q),
                 gated = floats(s.mlp), delta = floats(s.hidden), logits = floats(s.vocab),
                 gain = floats(s.hidden);
    const RopeTable rope{floats(kLength * s.head_dim), kLength, s.head_dim};
    const Norm norm{NormKind::rms, gain.as<float>(), nullptr, 1e-5f};
    std::vector<std::int32_t> map;
    for (std::int64_t h = 0; h < s.heads; ++h) {
      map.push_back(static_cast<std::int32_t>(h * s.kv_heads / s.heads));
    }
    const std::vector<Segment> segments = {{0, 1, 0, kLength - 1}};
    const auto row = [](const Buffer& buffer, std::int64_t cols) {
      return Activations(buffer.as<float>(), 1, cols);
    };
    const auto multiply = [&](const Buffer& x, std::int64_t in, const Norm* by, const Weight& w,
                              const Buffer& y, std::int64_t out, Epilogue epilogue) {
      operators_->linear({.x = row(x, in),
                          .norm = by,
                          .weight = &w,
                          .bias = nullptr,
                          .epilogue = epilogue,
                          .y = row(y, out)},
                         *stream_);
    };
    const auto add = [&] {
      operators_->sum(row(base, s.hidden), row(delta, s.hidden), nullptr, row(base, s.hidden),
                      *stream_);
    };
    const auto step = [&](int) {
      for (const Block& b : blocks) {
        const KvLayer cache{b.keys.data(), b.values.data(), DType::bf16, 1,
                            s.kv_heads,    kLength,         s.head_dim};
        multiply(base, s.hidden, &norm, b.qkv, qkv, q + 2 * kv, Epilogue::none);
        operators_->store_kv({.qkv = row(qkv, q + 2 * kv),
                              .q_heads = s.heads,
                              .rope = &rope,
                              .segments = segments,
                              .cache = cache},
                             *stream_);
        operators_->attention({.q = row(qkv, q + 2 * kv).col_range(0, q),
                               .segments = segments,
                               .kv_head_of = map,
                               .scale = 0.09f,
                               .cache = cache,
                               .out = row(mixed, q)},
                              *stream_);
        multiply(mixed, q, nullptr, b.o, delta, s.hidden, Epilogue::none);
        add();
        multiply(base, s.hidden, &norm, b.up, gated, s.mlp, Epilogue::gated_silu);
        multiply(gated, s.mlp, nullptr, b.down, delta, s.hidden, Epilogue::none);
        add();
      }
      multiply(base, s.hidden, &norm, head, logits, s.vocab, Epilogue::none);
    };
    const double seconds = time(1, step);
    double bytes = 2.0 * static_cast<double>(s.vocab * s.hidden);
    for (const Block& b : blocks) {
      for (const Weight* w : {&b.qkv, &b.o, &b.up, &b.down}) {
        bytes += static_cast<double>(w->storage.bytes());
      }
      bytes += 2.0 * static_cast<double>(b.keys.bytes());
    }
    rows_.push_back({fmt::format("decode step of {}, {:.1f} tokens/s", name, 1.0 / seconds),
                     seconds, bytes, 0});
  }

  bool small_;
  CudaDevice device_{0};
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Operators> operators_;
  std::vector<Row> rows_;
  double copy_rate_ = 1.0;
};

int run(int argc, char** argv) {
  bool small = false;
  const char* json = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--small") == 0) {
      small = true;
    } else if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      json = argv[++i];
    } else {
      fmt::print(stderr, "{}", kUsage);
      return 2;
    }
  }
  Bench bench(small);
  bench.run();
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      json ? std::fopen(json, "w") : nullptr, [](std::FILE* f) { return f ? std::fclose(f) : 0; });
  if (json && !file) throw Error(ErrorCode::system, fmt::format("cannot write {}", json));
  bench.print(file.get());
  return 0;
}

}  // namespace
}  // namespace spd::cuda

int main(int argc, char** argv) {
  try {
    return spd::cuda::run(argc, argv);
  } catch (const spd::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return error.exit_status();
  }
}
