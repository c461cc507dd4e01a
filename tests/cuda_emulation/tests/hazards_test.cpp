// Each fault that the emulation claims to find is put into a kernel, and found: in every order of
// threads. Without the fault nothing is reported and the result is right.
#include <cmath>

#include "kernels/device/dtype.h"
#include "tests/cuda_emulation/tests/emulation_fixture.h"
#include "tests/cuda_emulation/tests/hazards.h"

namespace spd::test {
namespace {

class Hazards : public EmulationTest {
 protected:
  static constexpr int kCount = 300;
  /// The sum and the largest of 300 numbers.
  std::vector<float> run(Hazard hazard) {
    const cudaStream_t stream = make_stream();
    std::vector<float> x(kCount);
    for (int i = 0; i < kCount; ++i) x[i] = static_cast<float>(i % 7);
    x[200] = 50.0f;
    const float* const gpu_x = upload(x, stream);
    float* const out = allocate<float>(2);
    EXPECT_EQ(cudaMemsetAsync(out, 0, 2 * sizeof(float), stream), cudaSuccess);
    sum_and_largest(gpu_x, kCount, out, hazard, queue(stream));
    return download(out, 2, stream);
  }
  static float wanted_sum() {
    float sum = 50.0f - 200 % 7;
    for (int i = 0; i < kCount; ++i) sum += static_cast<float>(i % 7);
    return sum;
  }
};

TEST_F(Hazards, NoneIsReportedOfARightKernel) {
  for (const auto order : kOrders) {
    cuda_emulation::options().order = order;
    const std::vector<float> got = run(Hazard::none);
    EXPECT_EQ(got[0], wanted_sum());
    EXPECT_EQ(got[1], 50.0f);
  }
}

struct Expected {
  Hazard hazard;
  const char* report;
  bool needs_hooks;
};

TEST_F(Hazards, EachIsReported) {
  const std::vector<Expected> table = {
      {Hazard::no_barrier, "race in shared memory (read after write)", true},
      {Hazard::no_second_barrier, "race in shared memory (write after read)", true},
      {Hazard::narrow_mask, "which is not in the mask", false},
      {Hazard::divergent_barrier, "ended", false},
      {Hazard::early_return, "ended", false},
      {Hazard::load_beyond, "load of 4 bytes: out of bounds", true},
      {Hazard::store_beyond, "store of 4 bytes: out of bounds", true},
      {Hazard::unwritten_shared, "shared memory read that nobody wrote", true},
      {Hazard::shared_beyond, "shared memory out of bounds", true},
      {Hazard::deep_stack, "bytes of stack", false},
  };
  for (const auto order : kOrders) {
    for (const Expected& expected : table) {
      if (expected.needs_hooks && !cuda_emulation::accesses_are_checked()) continue;
      cuda_emulation::options().order = order;
      cuda_emulation::options().patience_ms = 50;
      try {
        run(expected.hazard);
      } catch (const std::exception& error) {
        ADD_FAILURE() << static_cast<int>(expected.hazard) << ": " << error.what();
      }
      EXPECT_TRUE(reported({expected.report})) << "order " << static_cast<int>(order) << ", hazard "
                                               << static_cast<int>(expected.hazard);
      cuda_emulation::take_reports();
    }
  }
}

// A missing barrier also gives a wrong result in at least one order, hooks or not.
TEST_F(Hazards, AMissingBarrierGivesAWrongResult) {
  bool wrong = false;
  for (const auto order : kOrders) {
    cuda_emulation::options().order = order;
    wrong = wrong || run(Hazard::no_barrier)[0] != wanted_sum();
  }
  EXPECT_TRUE(wrong);
  cuda_emulation::take_reports();
}

TEST_F(Hazards, MisalignedVectors) {
  if (!cuda_emulation::accesses_are_checked()) GTEST_SKIP() << "needs -fsanitize=alignment";
  const cudaStream_t stream = make_stream();
  const float* const x = upload(std::vector<float>(64, 1.0f), stream);
  float* const out = allocate<float>(4);
  load_vectors(x, 4, 4, out, queue(stream));
  EXPECT_EQ(download(out, 4, stream), std::vector<float>(4, 4.0f));
  EXPECT_TRUE(cuda_emulation::take_reports().empty());
  load_vectors(x, 5, 4, out, queue(stream));
  cudaStreamSynchronize(stream);
  EXPECT_TRUE(reported({"misaligned access at hazards.cu:"}));
  cuda_emulation::take_reports();
}

TEST_F(Hazards, BlocksThatWriteOnePlace) {
  const cudaStream_t stream = make_stream();
  float* const out = allocate<float>(1);
  all_write_one(out, queue(stream));
  cudaStreamSynchronize(stream);
  if (cuda_emulation::accesses_are_checked()) {
    EXPECT_TRUE(reported({"race in global memory", "all_write_one"}));
  }
  cuda_emulation::take_reports();
}

TEST_F(Hazards, MemoryThatNobodyWroteOrThatWasFreed) {
  const cudaStream_t stream = make_stream();
  float* const x = allocate<float>(kCount);
  float* const out = allocate<float>(2);
  sum_and_largest(x, kCount, out, Hazard::none, queue(stream));
  EXPECT_TRUE(std::isnan(download(out, 1, stream)[0]));
  if (cuda_emulation::accesses_are_checked()) {
    EXPECT_TRUE(reported({"global memory that nobody wrote"}));
  }
  cuda_emulation::take_reports();
  forget(x);
  cudaFree(x);
  sum_and_largest(x, kCount, out, Hazard::none, queue(stream));
  EXPECT_TRUE(std::isnan(download(out, 1, stream)[0]));
  if (cuda_emulation::accesses_are_checked()) {
    EXPECT_TRUE(reported({"or its memory was freed"}));
  }
  cuda_emulation::take_reports();
}

// Two kernels that wait for each other by flags, in both orders of their streams.
TEST_F(Hazards, FlagsBetweenKernels) {
  for (const bool waits : {true, false}) {
    for (const bool turned : {false, true}) {
      cuda_emulation::options().stream_order = {};
      const cudaStream_t streams[2] = {make_stream(), make_stream()};
      if (turned) cuda_emulation::options().stream_order = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
      float *mine[2], *slots[2];
      std::uint32_t* flags[2];
      for (int r = 0; r < 2; ++r) {
        mine[r] = upload(std::vector<float>(200, static_cast<float>(r + 1)), streams[r]);
        slots[r] = upload(std::vector<float>(200, -1.0f), streams[r]);
        flags[r] = upload(std::vector<std::uint32_t>(1, 0), streams[r]);
      }
      EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      for (int r = 0; r < 2; ++r) {
        exchange_and_add({mine[r], slots[r], slots[1 - r], flags[r], flags[1 - r], 200, waits},
                         queue(streams[r]));
      }
      EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      if (waits) {
        for (int r = 0; r < 2; ++r) {
          EXPECT_EQ(download(mine[r], 200, streams[r]), std::vector<float>(200, 3.0f));
        }
        for (const std::string& report : cuda_emulation::take_reports()) {
          ADD_FAILURE() << report;
        }
      } else if (cuda_emulation::accesses_are_checked()) {
        EXPECT_TRUE(reported({"unordered: exchange", "what exchange"}));
        cuda_emulation::take_reports();
      }
    }
  }
}

TEST_F(Hazards, AFlagThatNobodySetsIsReportedInsteadOfAHang) {
  cuda_emulation::options().patience_ms = 50;
  const cudaStream_t stream = make_stream();
  const std::uint32_t* const flag = upload(std::vector<std::uint32_t>(1, 0), stream);
  wait_for_ever(flag, queue(stream));
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorLaunchFailure);
  EXPECT_TRUE(reported({"nothing can go on", "a flag, wait_for_ever at hazards.cu:",
                        "31 thread(s) from 1 on wait at __syncthreads"}));
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);  // the device stays lost
}

TEST_F(Hazards, ReadsBeforeTheDependencyWait) {
  const cudaStream_t stream = make_stream();
  const float* const x = upload(std::vector<float>(256, 1.0f), stream);
  float* const y = allocate<float>(256);
  float* const z = allocate<float>(256);
  cudaStreamSynchronize(stream);
  for (const bool early : {false, true}) {
    scale(x, 256, 2.0f, y, early, queue(stream, true));  // x is old: early is fine
    scale(y, 256, 2.0f, z, early, queue(stream, true));
    EXPECT_EQ(download(z, 256, stream), std::vector<float>(256, 4.0f));
    if (early && cuda_emulation::accesses_are_checked()) {
      EXPECT_TRUE(reported({"unordered: scale reads what scale wrote", "dependency wait"}));
    } else {
      EXPECT_TRUE(cuda_emulation::take_reports().empty());
    }
    cuda_emulation::take_reports();
  }
}

TEST_F(Hazards, AProgrammaticLaunchThatNeverWaits) {
  const cudaStream_t stream = make_stream();
  const float* const x = upload(std::vector<float>(16, 1.0f), stream);
  float* const out = allocate<float>(4);
  load_vectors(x, 0, 4, out, queue(stream, true));
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_TRUE(reported({"load_vectors: no thread waits for what precedes the launch"}));
}

TEST_F(Hazards, OneTileIsAMatrixProduct) {
  const cudaStream_t stream = make_stream();
  std::vector<std::uint16_t> a(16 * 16), b(8 * 16);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = f32_to_bf16(static_cast<float>(i % 13) - 5);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = f32_to_bf16(static_cast<float>(i % 11) - 4);
  float* const d = allocate<float>(16 * 8);
  one_tile(upload(a, stream), upload(b, stream), d, queue(stream));
  const std::vector<float> got = download(d, 16 * 8, stream);
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8; ++column) {
      float wanted = 0.0f;
      for (int k = 0; k < 16; ++k) {
        wanted += bf16_to_f32(a[row * 16 + k]) * bf16_to_f32(b[column * 16 + k]);
      }
      EXPECT_EQ(got[row * 8 + column], wanted) << row << ", " << column;
    }
  }
}

}  // namespace
}  // namespace spd::test
