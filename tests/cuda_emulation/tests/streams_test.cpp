// Streams, events, copies, captures and graphs: what CUDA's documentation promises, and no more.
#include <cstdio>
#include <functional>

#include "tests/cuda_emulation/tests/emulation_fixture.h"
#include "tests/cuda_emulation/tests/hazards.h"

namespace spd::test {
namespace {

using Streams = EmulationTest;
constexpr int kCount = 64;

/// A kernel on one stream makes what a kernel on another reads.
struct Relay {
  float *x, *y, *z;
  cudaStream_t first, second;
  cudaEvent_t made;
  void run(bool waits) const {
    scale(x, kCount, 2.0f, y, false, {first, 1, false});
    if (waits) {
      cudaEventRecord(made, first);
      cudaStreamWaitEvent(second, made, 0);
    }
    scale(y, kCount, 2.0f, z, false, {second, 1, false});
  }
};

class Relays : public EmulationTest {
 protected:
  Relay make_relay() {
    Relay relay{};
    relay.first = make_stream();
    relay.second = make_stream();
    EXPECT_EQ(cudaEventCreateWithFlags(&relay.made, 0), cudaSuccess);
    relay.x = upload(std::vector<float>(kCount, 1.0f), relay.first);
    relay.y = upload(std::vector<float>(kCount, 9.0f), relay.first);
    relay.z = upload(std::vector<float>(kCount, 9.0f), relay.first);
    cudaDeviceSynchronize();
    return relay;
  }
};

TEST_F(Relays, AnEventOrdersTwoStreams) {
  for (const bool later_first : {false, true}) {
    cuda_emulation::options().stream_order = {};
    const Relay relay = make_relay();
    if (later_first) cuda_emulation::options().stream_order = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
    relay.run(true);
    EXPECT_EQ(download(relay.z, kCount, relay.second), std::vector<float>(kCount, 4.0f));
    cudaStreamSynchronize(relay.first);
    cudaEventDestroy(relay.made);
  }
}

TEST_F(Relays, AMissingEventIsReportedInAnyOrder) {
  for (const bool later_first : {false, true}) {
    cuda_emulation::options().stream_order = {};
    const Relay relay = make_relay();
    if (later_first) cuda_emulation::options().stream_order = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
    relay.run(false);
    const std::vector<float> got = download(relay.z, kCount, relay.second);
    cudaDeviceSynchronize();
    if (later_first) {
      EXPECT_EQ(got[0], 18.0f);  // what was there before
    }
    if (cuda_emulation::accesses_are_checked()) {
      EXPECT_TRUE(reported({later_first ? "unordered: scale writes what scale reads"
                                        : "unordered: scale reads what scale wrote",
                            "no event or wait between"}));
    }
    cuda_emulation::take_reports();
    cudaEventDestroy(relay.made);
  }
}

TEST_F(Streams, PinnedMemoryIsReadAndWrittenWhenTheCopyRuns) {
  const cudaStream_t stream = make_stream();
  float* const memory = allocate<float>(kCount);
  void* pinned_memory = nullptr;
  ASSERT_EQ(cudaHostAlloc(&pinned_memory, kCount * sizeof(float), 0), cudaSuccess);
  auto* const pinned = static_cast<float*>(pinned_memory);
  std::fill_n(pinned, kCount, 1.0f);
  cudaMemcpyAsync(memory, pinned, kCount * sizeof(float), cudaMemcpyHostToDevice, stream);
  pinned[5] = 99.0f;  // too early
  EXPECT_EQ(download(memory, kCount, stream)[5], 99.0f);
  cudaMemcpyAsync(pinned, memory, kCount * sizeof(float), cudaMemcpyDeviceToHost, stream);
  EXPECT_NE(pinned[0], 1.0f);  // too early
  cudaStreamSynchronize(stream);
  EXPECT_EQ(pinned[0], 1.0f);
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST_F(Streams, PageableMemoryIsReadAtOnce) {
  const cudaStream_t stream = make_stream();
  float* const memory = allocate<float>(kCount);
  std::vector<float> values(kCount, 1.0f);
  cudaMemcpyAsync(memory, values.data(), kCount * sizeof(float), cudaMemcpyHostToDevice, stream);
  values[5] = 99.0f;
  EXPECT_EQ(download(memory, kCount, stream)[5], 1.0f);
}

TEST_F(Streams, CopiesOfRowsKeepWhatLiesBetween) {
  const cudaStream_t stream = make_stream();
  float* const memory = upload(std::vector<float>(12, 7.0f), stream);
  const std::vector<float> rows = {1, 2, 0, 3, 4, 0, 5, 6, 0};
  ASSERT_EQ(cudaMemcpy2DAsync(memory, 4 * sizeof(float), rows.data(), 3 * sizeof(float),
                              2 * sizeof(float), 3, cudaMemcpyHostToDevice, stream),
            cudaSuccess);
  EXPECT_EQ(download(memory, 12, stream), (std::vector<float>{1, 2, 7, 7, 3, 4, 7, 7, 5, 6, 7, 7}));
  EXPECT_EQ(cudaMemcpy2DAsync(memory, 4, rows.data(), 12, 8, 3, cudaMemcpyHostToDevice, stream),
            cudaErrorInvalidPitchValue);
  EXPECT_EQ(
      cudaMemcpyAsync(memory, rows.data(), 13 * sizeof(float), cudaMemcpyHostToDevice, stream),
      cudaErrorInvalidValue);
}

TEST_F(Streams, AGraphReadsWhatItsBuffersHoldThen) {
  const cudaStream_t stream = make_stream();
  float* const x = upload(std::vector<float>(kCount, 1.0f), stream);
  float* const y = allocate<float>(kCount);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  scale(x, kCount, 3.0f, y, false, queue(stream));
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  cudaGraphExec_t executable = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
  cudaGraphDestroy(graph);
  for (const float value : {1.0f, 5.0f}) {
    const std::vector<float> values(kCount, value);
    cudaMemcpyAsync(x, values.data(), kCount * sizeof(float), cudaMemcpyHostToDevice, stream);
    ASSERT_EQ(cudaGraphLaunch(executable, stream), cudaSuccess);
    EXPECT_EQ(download(y, kCount, stream), std::vector<float>(kCount, 3.0f * value));
  }
  // After its buffer was freed it reads what is nobody's.
  forget(x);
  cudaFree(x);
  cudaGraphLaunch(executable, stream);
  EXPECT_NE(download(y, 1, stream)[0], 15.0f);
  if (cuda_emulation::accesses_are_checked()) {
    EXPECT_TRUE(reported({"scale: load of 4 bytes: out of bounds, or its memory was freed"}));
  }
  cuda_emulation::take_reports();
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
}

TEST_F(Relays, ACaptureForksAndJoins) {
  const Relay relay = make_relay();
  cudaEvent_t joined = nullptr;
  cudaEventCreateWithFlags(&joined, 0);
  for (const bool joins : {true, false}) {
    ASSERT_EQ(cudaStreamBeginCapture(relay.first, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    relay.run(true);
    cudaEventRecord(joined, relay.second);
    if (joins) cudaStreamWaitEvent(relay.first, joined, 0);
    cudaGraph_t graph = nullptr;
    const cudaError_t ended = cudaStreamEndCapture(relay.first, &graph);
    EXPECT_EQ(ended, joins ? cudaSuccess : cudaErrorStreamCaptureUnjoined);
    if (!joins) continue;
    std::size_t nodes = 0;
    cudaGraphGetNodes(graph, nullptr, &nodes);
    EXPECT_EQ(nodes, 2u);
    cudaGraphExec_t executable = nullptr;
    cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    for (int i = 0; i < 3; ++i) {
      cudaGraphLaunch(executable, relay.first);
      EXPECT_EQ(download(relay.z, kCount, relay.first), std::vector<float>(kCount, 4.0f));
    }
    cudaGraphExecDestroy(executable);
  }
  cudaEventDestroy(joined);
  cudaEventDestroy(relay.made);
}

TEST_F(Streams, AWaitSpoilsACapture) {
  const cudaStream_t stream = make_stream();
  float* const x = upload(std::vector<float>(kCount, 1.0f), stream);
  struct Forbidden {
    const char* what;
    std::function<cudaError_t()> call;
  };
  void* memory = nullptr;
  std::vector<float> host(kCount);
  const Forbidden table[] = {
      {"a wait", [&] { return cudaStreamSynchronize(stream); }},
      {"a query", [&] { return cudaStreamQuery(stream); }},
      {"a wait for the device", [&] { return cudaDeviceSynchronize(); }},
      {"an allocation", [&] { return cudaMalloc(&memory, 16); }},
      {"a copy to pageable memory",
       [&] { return cudaMemcpyAsync(host.data(), x, 16, cudaMemcpyDeviceToHost, stream); }},
  };
  for (const Forbidden& forbidden : table) {
    ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
    EXPECT_EQ(forbidden.call(), cudaErrorStreamCaptureUnsupported) << forbidden.what;
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated)
        << forbidden.what;
  }
}

TEST_F(Streams, ACapturedEventMarksNoWork) {
  const cudaStream_t stream = make_stream();
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, 0);
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed), cudaSuccess);
  cudaEventRecord(event, stream);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorCapturedEvent);
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaErrorCapturedEvent);
  cudaEventRecord(event, stream);
  EXPECT_EQ(cudaEventSynchronize(event), cudaSuccess);
  cudaGraphDestroy(graph);
  cudaEventDestroy(event);
}

TEST_F(Relays, MemoryOfAStreamIsOnlyItsOwn) {
  const Relay relay = make_relay();
  void* memory = nullptr;
  ASSERT_EQ(cudaMallocAsync(&memory, kCount * sizeof(float), relay.first), cudaSuccess);
  auto* const y = static_cast<float*>(memory);
  scale(relay.x, kCount, 2.0f, y, false, queue(relay.first));
  EXPECT_EQ(download(y, kCount, relay.first), std::vector<float>(kCount, 2.0f));
  EXPECT_TRUE(cuda_emulation::take_reports().empty());
  ASSERT_EQ(cudaFreeAsync(y, relay.first), cudaSuccess);
  cudaStreamSynchronize(relay.first);
  scale(y, kCount, 2.0f, relay.z, false, queue(relay.second));
  cudaDeviceSynchronize();
  if (cuda_emulation::accesses_are_checked()) {
    EXPECT_TRUE(reported({"its memory was freed"}));
  }
  cuda_emulation::take_reports();
  // Used on another stream before the allocation has happened there.
  ASSERT_EQ(cudaMallocAsync(&memory, kCount * sizeof(float), relay.first), cudaSuccess);
  scale(relay.x, kCount, 2.0f, static_cast<float*>(memory), false, queue(relay.second));
  cudaDeviceSynchronize();
  if (cuda_emulation::accesses_are_checked()) {
    EXPECT_TRUE(reported({"unordered", "cudaMallocAsync"}));
  }
  cuda_emulation::take_reports();
  cudaFreeAsync(memory, relay.first);
  cudaDeviceSynchronize();
  cudaEventDestroy(relay.made);
}

TEST_F(Streams, HostCodeThatTouchesDeviceMemoryEndsTheProgram) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  cuda_emulation::options().guarded = true;
  const cudaStream_t stream = make_stream();
  const float* const x = upload(std::vector<float>(kCount, 1.0f), stream);
  float* const y = allocate<float>(kCount);
  scale(x, kCount, 2.0f, y, false, queue(stream));
  EXPECT_EQ(download(y, kCount, stream), std::vector<float>(kCount, 2.0f));
  EXPECT_DEATH(std::printf("%f", static_cast<double>(y[3])), "the host touches device memory");
}

TEST_F(Streams, LaunchesThatNoDeviceTakes) {
  const cudaStream_t stream = make_stream();
  EXPECT_ANY_THROW(scale(nullptr, 0, 1.0f, nullptr, false, queue(stream)));  // a grid of nothing
  cudaGetLastError();
  EXPECT_ANY_THROW(scale(nullptr, 1, 1.0f, nullptr, false, queue(nullptr)));  // no stream
  cudaGetLastError();
}

TEST_F(Streams, FailuresComeWhenTheyWereOrdered) {
  cuda_emulation::fail_call("cudaMalloc", 2, cudaErrorMemoryAllocation);
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 16), cudaSuccess);
  cudaFree(memory);
  EXPECT_EQ(cudaMalloc(&memory, 16), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&memory, 16), cudaSuccess);
  cudaFree(memory);
  cuda_emulation::fail_call("cudaDeviceSynchronize", 1, cudaErrorECCUncorrectable, true);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaMalloc(&memory, 16), cudaErrorECCUncorrectable);
}

TEST_F(Streams, MemoryIsLimited) {
  cuda_emulation::options().memory = 1 << 20;
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 2 << 20), cudaErrorMemoryAllocation);
  std::size_t free = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(total, std::size_t{1} << 20);
}

}  // namespace
}  // namespace spd::test
