// What people read when a GPU cannot be used: one message, what was found and what helps.
#include <gmock/gmock.h>

#include "kernels/device/error.h"
#include "tests/cuda_emulation/libraries.h"
#include "tests/kernels/cuda/cuda_fixture.h"

namespace spd::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using CudaFailures = CudaTest;

template <class Body>
std::string message_of(Body&& body, ErrorCode code = ErrorCode::device) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST_F(CudaFailures, NoDriver) {
  cuda_emulation::options().driver = 0;
  EXPECT_EQ(cuda::probe_gpus().describe(), "no NVIDIA driver is loaded on this machine");
  EXPECT_THAT(
      message_of([] { cuda::CudaDevice(0); }),
      AllOf(HasSubstr("no NVIDIA driver"), HasSubstr("release 580"), HasSubstr("--device cpu")));
}

TEST_F(CudaFailures, DriverTooOld) {
  cuda_emulation::options().driver = 12040;
  cuda_emulation::fail_call("cudaGetDeviceCount", 1, cudaErrorInsufficientDriver);
  EXPECT_THAT(message_of([] { cuda::CudaDevice(0); }),
              AllOf(HasSubstr("the NVIDIA driver knows CUDA 12.4, this program needs 13.0"),
                    HasSubstr("update the driver")));
}

TEST_F(CudaFailures, NoGpuOrNotThisOne) {
  EXPECT_THAT(message_of([] { cuda::CudaDevice(3); }),
              AllOf(HasSubstr("there is no GPU 3: 1 GPU: "), HasSubstr("--device cuda:N")));
  cuda_emulation::options().devices = 0;
  EXPECT_THAT(message_of([] { cuda::CudaDevice(0); }), HasSubstr("CUDA_VISIBLE_DEVICES"));
}

TEST_F(CudaFailures, GpuHeldByAnother) {
  cuda_emulation::fail_call("cudaStreamCreateWithFlags", 1, cudaErrorDevicesUnavailable);
  EXPECT_THAT(message_of([] { cuda::CudaDevice(0); }),
              HasSubstr("another process holds the GPU exclusively"));
}

TEST_F(CudaFailures, OutOfMemory) {
  cuda_emulation::options().memory = std::size_t{64} << 20;
  Gpu gpu;
  EXPECT_THAT(message_of([&] { Buffer(gpu.device, std::size_t{1} << 30); }, ErrorCode::system),
              AllOf(HasSubstr("cannot allocate 1.000 GiB on GPU 0"), HasSubstr("of 0.062 GiB"),
                    HasSubstr("use more ranks")));
  // What was asked for in vain is forgotten: the device works on.
  Matrix a(2, 3);
  GpuMatrix gpu_a(gpu, a);
  gpu.operators->fill(gpu_a.view(), 1.0f, *gpu.stream);
  EXPECT_EQ(gpu_a.back().at(1, 2), 1.0f);
}

// Memory that others have released is used before the driver is asked to give up.
TEST_F(CudaFailures, ReleasedMemoryIsUsedAgain) {
  cuda_emulation::options().memory = std::size_t{64} << 20;
  Gpu gpu;
  for (int i = 0; i < 10; ++i) {
    Buffer large(gpu.device, (std::size_t{30} + i) << 20);
    Matrix ones(1, 1000);
    gpu.reference->fill(ones.view(), 1.0f, *gpu.host_stream);
    gpu.device.upload(large.data(), ones.view().data, 4000, *gpu.stream);
  }
  Buffer fresh(gpu.device, std::size_t{39} << 20);
  EXPECT_EQ(gpu.values<float>(fresh, 1000), std::vector<float>(1000, 0.0f));
}

TEST_F(CudaFailures, LibraryMissing) {
  cuda_emulation::hide_library("libcublasLt.so.13");
  Gpu gpu;
  Random random;
  const auto weight = gpu.random_weight(random, DType::bf16, 8, 8);
  Matrix x = random.matrix(9, 8), y(9, 8);
  GpuMatrix gpu_x(gpu, x), gpu_y(gpu, y);
  EXPECT_THAT(
      message_of([&] {
        gpu.operators->linear({.x = gpu_x.view(), .weight = &weight.gpu, .y = gpu_y.view()},
                              *gpu.stream);
      }),
      AllOf(HasSubstr("cannot load libcublasLt.so.13"),
            HasSubstr("python3 -m pip install nvidia-cublas"), HasSubstr("SPD_CUDA_LIB_DIR")));
}

TEST_F(CudaFailures, DeviceLost) {
  for (const char* call : {"cudaLaunchKernelExC", "cudaStreamSynchronize", "cudaMemcpyAsync"}) {
    cuda_emulation::reset();
    Gpu gpu;
    Matrix a(2, 3);
    GpuMatrix gpu_a(gpu, a);
    gpu.stream->synchronize();
    cuda_emulation::fail_call(call, 1, cudaErrorIllegalAddress, true);
    EXPECT_THAT(message_of([&] {
                  gpu.operators->fill(gpu_a.view(), 1.0f, *gpu.stream);
                  gpu_a.back();
                }),
                AllOf(HasSubstr("cudaErrorIllegalAddress"), HasSubstr("the GPU is lost")))
        << call;
  }
}

}  // namespace
}  // namespace spd::test
