// Streams, events, graphs and memory of a GPU as kernels/device/device.h promises them.
#include <fmt/format.h>

#include <span>

#include "kernels/device/error.h"
#include "tests/kernels/cuda/cuda_fixture.h"

namespace spd::test {
namespace {

using CudaDeviceTest = CudaTest;

TEST_F(CudaDeviceTest, MemoryIsZeroAndComesBack) {
  Gpu gpu;
  const MemoryInfo before = gpu.device.memory();
  EXPECT_GT(before.total, before.free / 2);
  void* address = nullptr;
  {
    Buffer buffer(gpu.device, 1000);
    address = buffer.data();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(address) % 64, 0u);
    EXPECT_EQ(gpu.values<float>(buffer, 250), std::vector<float>(250, 0.0f));
    const std::vector<float> ones(250, 1.0f);
    gpu.device.upload(address, ones.data(), 1000, *gpu.stream);
  }
  Buffer again(gpu.device, 1001);  // of the same size class
  EXPECT_EQ(again.data(), address);
  EXPECT_EQ(gpu.values<float>(again, 250), std::vector<float>(250, 0.0f));
}

TEST_F(CudaDeviceTest, UploadsTakeTheirDataAtOnceUnlessPinned) {
  Gpu gpu;
  std::vector<int> values(100, 1);
  Buffer buffer(gpu.device, 400);
  gpu.device.upload(buffer.data(), values.data(), 400, *gpu.stream);
  values.assign(100, 2);
  EXPECT_EQ(gpu.values<int>(buffer, 100), std::vector<int>(100, 1));
  HostBuffer pinned(gpu.device, 400);
  std::fill_n(pinned.as<int>(), 100, 3);
  gpu.device.upload(buffer.data(), pinned.as<int>(), 400, *gpu.stream);
  gpu.stream->synchronize();
  EXPECT_EQ(gpu.values<int>(buffer, 100), std::vector<int>(100, 3));
  Buffer other(gpu.device, 400);
  gpu.device.copy(other.data(), buffer.data(), 400, *gpu.stream);
  EXPECT_EQ(gpu.values<int>(other, 100), std::vector<int>(100, 3));
}

TEST_F(CudaDeviceTest, EventsOrderStreamsAndMeasureTime) {
  Gpu gpu;
  const auto other = gpu.device.make_stream();
  const auto begin = gpu.device.make_event(), end = gpu.device.make_event();
  EXPECT_TRUE(begin->done());  // never recorded
  Matrix a(4, 300);
  GpuMatrix x(gpu, a), y(gpu, a);
  gpu.stream->synchronize();
  begin->record(*gpu.stream);
  gpu.operators->fill(x.view(), 2.0f, *gpu.stream);
  end->record(*gpu.stream);
  other->wait(*end);
  gpu.operators->copy(x.view(), y.view(), *other);
  other->synchronize();
  EXPECT_TRUE(end->done());
  EXPECT_GE(end->seconds_since(*begin), 0.0);
  EXPECT_EQ(y.back().at(3, 299), 2.0f);
  EXPECT_TRUE(other->done());
}

// A captured step reads what its inputs hold when it is launched, positions included.
TEST_F(CudaDeviceTest, AGraphOfOperators) {
  Gpu gpu;
  ASSERT_TRUE(gpu.device.captures());
  Random random;
  const auto weight = gpu.random_weight(random, DType::bf16, 40, 64);
  const std::vector<float> gain = random.vector(64, 0.5f, 1.5f);
  const Buffer gpu_gain = gpu.buffer(gain);
  const Norm norm{NormKind::rms, gain.data(), nullptr, 1e-5f};
  const Norm gpu_norm{NormKind::rms, gpu_gain.as<float>(), nullptr, 1e-5f};
  Matrix x = random.matrix(1, 64), y(1, 40);
  GpuMatrix gpu_x(gpu, x), gpu_y(gpu, y);
  const auto step = [&](Stream& stream) {
    gpu.operators->linear(
        {.x = gpu_x.view(), .norm = &gpu_norm, .weight = &weight.gpu, .y = gpu_y.view()}, stream);
    gpu.operators->add(gpu_y.view(), gpu_y.view(), stream);
  };
  step(*gpu.stream);  // whatever grows has grown
  gpu.stream->begin_capture();
  step(*gpu.stream);
  const std::unique_ptr<Graph> graph = gpu.stream->end_capture();
  EXPECT_EQ(graph->size(), 2u);
  for (int i = 0; i < 3; ++i) {
    Matrix next = random.matrix(1, 64);
    gpu.device.upload(gpu_x.view().data, next.view().data, 64 * sizeof(float), *gpu.stream);
    graph->launch(*gpu.stream);
    gpu.reference->linear({.x = next.view(), .norm = &norm, .weight = &weight.host, .y = y.view()},
                          *gpu.host_stream);
    gpu.reference->add(y.view(), y.view(), *gpu.host_stream);
    expect_near(gpu_y.back(), y, 2e-5, "a graph's step");
  }
}

// One decode step's graph, launched for one position after the other: it reads the table that
// begin_step() has put there, and the cache grows as it does without a graph.
TEST_F(CudaDeviceTest, AGraphOfADecodeStep) {
  Gpu gpu;
  Random random;
  constexpr std::int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 64, kCapacity = 400, kSlots = 3;
  constexpr std::int64_t kCols = (kHeads + 2 * kKvHeads) * kHeadDim;
  const std::int64_t cache_bytes = kSlots * kKvHeads * kCapacity * kHeadDim * 2;
  std::vector<std::byte> keys(cache_bytes), values(cache_bytes);
  const Buffer gpu_keys = gpu.buffer(keys), gpu_values = gpu.buffer(values);
  KvLayer host{keys.data(), values.data(), DType::f16, kSlots, kKvHeads, kCapacity, kHeadDim};
  KvLayer cache = host;
  cache.keys = gpu_keys.data();
  cache.values = gpu_values.data();
  const std::vector<float> angles = random.vector(kCapacity * kHeadDim);
  RopeTable rope{Buffer(gpu.host, angles.size() * 4), kCapacity, kHeadDim};
  std::copy(angles.begin(), angles.end(), rope.cos_sin.as<float>());
  const RopeTable gpu_rope{gpu.buffer(angles), kCapacity, kHeadDim};
  const std::vector<std::int32_t> map = {0, 0, 1, 1};
  Matrix qkv = random.matrix(2, kCols), out(2, kHeads * kHeadDim);
  GpuMatrix gpu_qkv(gpu, qkv), gpu_out(gpu, out);
  const auto step = [&](Operators& operators, Activations all, const KvLayer& to,
                        const RopeTable& by, std::span<const Segment> segments, Activations result,
                        Stream& stream) {
    operators.store_kv(
        {.qkv = all, .q_heads = kHeads, .rope = &by, .segments = segments, .cache = to}, stream);
    operators.attention({.q = all.col_range(0, kHeads * kHeadDim),
                         .segments = segments,
                         .kv_head_of = map,
                         .scale = 0.125f,
                         .cache = to,
                         .out = result},
                        stream);
  };
  std::unique_ptr<Graph> graph;
  for (std::int64_t i = 0; i < 40; ++i) {
    const std::vector<Segment> segments = {{0, 1, 2, 7 * i}, {1, 1, 0, i}};
    Matrix next = random.matrix(2, kCols);
    gpu.device.upload(gpu_qkv.view().data, next.view().data,
                      2 * static_cast<std::size_t>(next.view().stride) * sizeof(float),
                      *gpu.stream);
    gpu.operators->begin_step(segments, 2, *gpu.stream);
    const auto on_gpu = [&] {
      step(*gpu.operators, gpu_qkv.view(), cache, gpu_rope, segments, gpu_out.view(), *gpu.stream);
    };
    if (i == 0) {
      on_gpu();  // whatever grows has grown
    } else if (i == 1) {
      gpu.stream->begin_capture();
      on_gpu();
      graph = gpu.stream->end_capture();
      EXPECT_EQ(graph->size(), 2u);
    }
    if (graph) graph->launch(*gpu.stream);
    step(*gpu.reference, next.view(), host, rope, segments, out.view(), *gpu.host_stream);
    expect_near(gpu_out.back(), out, 1e-3, fmt::format("step {}", i));  // keys round to f16
    if (HasFatalFailure()) return;
  }
}

TEST_F(CudaDeviceTest, MemoryReleasedDuringACapture) {
  Gpu gpu;
  Matrix ones(1, 100);
  gpu.reference->fill(ones.view(), 1.0f, *gpu.host_stream);
  GpuMatrix x(gpu, ones), y(gpu, ones);
  auto released = std::make_unique<GpuMatrix>(gpu, ones);
  gpu.stream->begin_capture();
  gpu.operators->add(x.view(), y.view(), *gpu.stream);
  released.reset();
  const auto graph = gpu.stream->end_capture();
  EXPECT_EQ(graph->size(), 1u);
  const Buffer next(gpu.device, 100 * sizeof(float));  // not what was released
  EXPECT_EQ(gpu.values<float>(next, 100), std::vector<float>(100, 0.0f));
  graph->launch(*gpu.stream);
  EXPECT_EQ(y.back().at(0, 99), 2.0f);
}

TEST_F(CudaDeviceTest, ACapturedStepNeedsItsTableBefore) {
  Gpu gpu;
  const Buffer memory(gpu.device, 64 * 64 * 4);
  Matrix q(1, 64);
  GpuMatrix gpu_q(gpu, q), out(gpu, q);
  const std::vector<Segment> segments = {{0, 1, 0, 3}};
  const std::vector<std::int32_t> map = {0};
  gpu.stream->begin_capture();
  EXPECT_THROW(
      gpu.operators->attention({.q = gpu_q.view(),
                                .segments = segments,
                                .kv_head_of = map,
                                .cache = {memory.data(), memory.data(), DType::f32, 1, 1, 64, 64},
                                .out = out.view()},
                               *gpu.stream),
      Error);
  gpu.stream->end_capture();
}

// Released while a stream still reads it: handed out again only after that.
TEST_F(CudaDeviceTest, ReleaseWaitsForWhoStillReads) {
  Gpu gpu;
  Matrix ones(1, 100), out(1, 100);
  gpu.reference->fill(ones.view(), 1.0f, *gpu.host_stream);
  GpuMatrix result(gpu, out);
  gpu.stream->synchronize();
  {
    GpuMatrix x(gpu, ones);
    gpu.operators->copy(x.view(), result.view(), *gpu.stream);
  }
  GpuMatrix other(gpu, out);  // takes the memory, zeroes it
  expect_near(result.back(), ones, 0.0, "a copy of what was released");
}

}  // namespace
}  // namespace spd::test
