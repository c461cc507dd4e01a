// Times the operators at the shapes of shapes.h, as a share of what the machine gives:
//   kernel_bench [--threads=T] [Google Benchmark's options, e.g. --benchmark_filter=smollm2]
// "of_bandwidth" is bytes of weights (or of keys and values) over time and measured read
// bandwidth, the bound of decoding; "of_peak" is arithmetic over time and oneDNN's bf16 rate, the
// bound of prefill. Weights are taken in turn from as many copies as no cache holds.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "kernels/bench/roof.h"
#include "kernels/bench/shapes.h"
#include "kernels/device/cpu_device.h"

namespace spd::bench {
namespace {

constexpr std::int64_t kBeyondCaches = std::int64_t{512} << 20;  // bytes
constexpr std::int64_t kPromptTokens = 512;

// The operators under test, and what they are measured against.
struct Bench {
  explicit Bench(int threads)
      : stream(device.make_stream()),
        operators(make_cpu_operators(device, {.threads = threads})),
        roof(measure_roof(*operators, *stream)) {}

  Weight make_weight(const ProductShape& shape) {
    Weight weight = operators->make_weight(DType::bf16, shape.out, shape.in);
    std::vector<std::uint16_t> row(shape.in);
    for (std::int64_t i = 0; i < shape.in; ++i) {
      row[i] = f32_to_bf16(0.01F * static_cast<float>(i % 17 - 8));
    }
    for (std::int64_t r = 0; r < shape.out; ++r) {
      operators->fill_rows(weight, r, row.data(), 1, shape.in, *stream);
    }
    return weight;
  }

  /// Runs `work` for as long as `state` wants; `bytes` and `flops` are those of one run.
  template <class F>
  void time(benchmark::State& state, double bytes, double flops, F&& work) const {
    const auto begin = std::chrono::steady_clock::now();
    for (auto _ : state) work();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    const double runs_per_s = static_cast<double>(state.iterations()) / took.count();
    state.counters["of_bandwidth"] = bytes * runs_per_s / roof.bytes_per_s;
    state.counters["of_peak"] = flops * runs_per_s / roof.flops_per_s;
  }

  CpuDevice device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Operators> operators;
  Roof roof;
};

void time_product(benchmark::State& state, Bench& bench, const ProductShape& shape,
                  std::int64_t tokens) {
  const std::int64_t bytes =
      shape.out * shape.in * static_cast<std::int64_t>(sizeof(std::uint16_t));
  std::vector<Weight> copies;
  for (std::int64_t held = 0; held < kBeyondCaches; held += bytes) {
    copies.push_back(bench.make_weight(shape));
    if (tokens > 1) break;  // a prompt is bound by arithmetic
  }
  std::vector<float> x(tokens * shape.in, 0.5F);
  const std::int64_t width = shape.gated ? shape.out / 2 : shape.out;
  std::vector<float> y(tokens * width);
  LinearArgs args{.x = {x.data(), tokens, shape.in}, .y = {y.data(), tokens, width}};
  args.epilogue = shape.gated ? Epilogue::gated_silu : Epilogue::none;
  std::size_t next = 0;
  bench.time(state, static_cast<double>(bytes),
             2.0 * static_cast<double>(shape.out * shape.in * tokens), [&] {
               args.weight = &copies[next++ % copies.size()];
               bench.operators->linear(args, *bench.stream);
             });
}

// The last `tokens` of `positions` tokens attend over all before them.
void time_attention(benchmark::State& state, Bench& bench, const ModelShape& model,
                    std::int64_t tokens, std::int64_t positions) {
  const std::int64_t head = model.head_dim;
  const std::size_t cells = model.kv_heads * positions * head;
  std::vector<std::uint16_t> keys(cells, f32_to_f16(0.01F));
  std::vector<std::uint16_t> values(cells, f32_to_f16(0.02F));
  std::vector<float> q(tokens * model.q_heads * head, 0.1F);
  std::vector<float> out(q.size());
  std::vector<std::int32_t> kv_head_of(model.q_heads);
  for (std::int64_t h = 0; h < model.q_heads; ++h) {
    kv_head_of[h] = static_cast<std::int32_t>(h * model.kv_heads / model.q_heads);
  }
  const Segment segment{0, tokens, 0, positions - tokens};
  const AttentionArgs args{
      .q = {q.data(), tokens, model.q_heads * head},
      .segments = {&segment, 1},
      .kv_head_of = kv_head_of,
      .scale = 0.1F,
      .window = 0,
      .cache = {keys.data(), values.data(), DType::f16, 1, model.kv_heads, positions, head},
      .out = {out.data(), tokens, model.q_heads * head}};
  const double seen =
      static_cast<double>(tokens) * (static_cast<double>(positions) - (tokens - 1) / 2.0);
  bench.time(state, static_cast<double>(2 * cells * sizeof(std::uint16_t)),
             4.0 * seen * static_cast<double>(model.q_heads * head),
             [&] { bench.operators->attention(args, *bench.stream); });
}

void time_norm(benchmark::State& state, Bench& bench, std::int64_t hidden, std::int64_t tokens) {
  std::vector<float> x(tokens * hidden, 0.5F);
  std::vector<float> y(x.size());
  const std::vector<float> weight(hidden, 1.0F);
  const Norm norm{NormKind::rms, weight.data(), nullptr, 1e-5F};
  bench.time(state, static_cast<double>(2 * x.size() * sizeof(float)),
             4.0 * static_cast<double>(x.size()), [&] {
               bench.operators->norm({x.data(), tokens, hidden}, norm, {y.data(), tokens, hidden},
                                     *bench.stream);
             });
}

template <class F>
void add(const std::string& name, F&& run) {
  benchmark::RegisterBenchmark(name.c_str(), std::forward<F>(run))
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

void register_all(Bench& bench) {
  for (const ModelShape& model : kModelShapes) {
    const std::string of = std::string("/") + model.name;
    for (const ProductShape& shape : products_of(model)) {
      for (const std::int64_t tokens : {std::int64_t{1}, std::int64_t{8}, kPromptTokens}) {
        add((tokens < kPromptTokens ? "gemv" : "gemm") + of + "/" + shape.name +
                "/tokens:" + std::to_string(tokens),
            [&bench, shape, tokens](benchmark::State& state) {
              time_product(state, bench, shape, tokens);
            });
      }
    }
    add("decode_attention" + of + "/positions:2048", [&bench, &model](benchmark::State& state) {
      time_attention(state, bench, model, 1, 2048);
    });
    add("prefill_attention" + of + "/tokens:512", [&bench, &model](benchmark::State& state) {
      time_attention(state, bench, model, kPromptTokens, kPromptTokens);
    });
    for (const std::int64_t tokens : {std::int64_t{1}, kPromptTokens}) {
      add("rms_norm" + of + "/tokens:" + std::to_string(tokens),
          [&bench, &model, tokens](benchmark::State& state) {
            time_norm(state, bench, model.hidden, tokens);
          });
    }
  }
}

// --threads=T, taken out of the arguments; default: every core.
int take_threads(int& argc, char** argv) {
  constexpr const char* kFlag = "--threads=";
  int threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], kFlag, std::strlen(kFlag)) == 0) {
      threads = std::max(1, std::atoi(argv[i] + std::strlen(kFlag)));
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return threads;
}

}  // namespace
}  // namespace spd::bench

int main(int argc, char** argv) {
  const int threads = spd::bench::take_threads(argc, argv);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  spd::bench::Bench bench(threads);
  benchmark::AddCustomContext("threads", std::to_string(threads));
  benchmark::AddCustomContext("read_GB_per_s", std::to_string(bench.roof.bytes_per_s * 1e-9));
  benchmark::AddCustomContext("bf16_GFLOP_per_s", std::to_string(bench.roof.flops_per_s * 1e-9));
  spd::bench::register_all(bench);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
