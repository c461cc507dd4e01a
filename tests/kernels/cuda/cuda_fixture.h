// A GPU's operators beside the reference, and matrices that live on both sides. In the emulated
// build the GPU is tests/cuda_emulation, which must have found nothing wrong at the end of a test.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cuda_operators.h"
#include "kernels/cuda/probe.h"
#include "tests/kernels/operators_fixture.h"

#if defined(SPD_CUDA_EMULATED)
#include "tests/cuda_emulation/control.h"
#endif

namespace spd::test {

/// Skips where there is no GPU.
class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(SPD_CUDA_EMULATED)
    cuda_emulation::reset();
    cuda_emulation::options().guarded = true;
#else
    const cuda::Probe probe = cuda::probe_gpus();
    if (probe.gpus.empty()) GTEST_SKIP() << probe.reason;
#endif
  }
  void TearDown() override {
#if defined(SPD_CUDA_EMULATED)
    for (const std::string& report : cuda_emulation::take_reports()) ADD_FAILURE() << report;
    cuda_emulation::reset();
#endif
  }
};

/// Whether accesses are checked, which takes its time: tests then leave out what adds no new code.
inline bool checked() {
#if defined(SPD_CUDA_EMULATED)
  return cuda_emulation::accesses_are_checked();
#else
  return false;
#endif
}

struct Gpu {
  Gpu()
      : device(0),
        stream(device.make_stream()),
        operators(cuda::make_cuda_operators(device)),
        host_stream(host.make_stream()),
        reference(make_reference_operators(host)) {}

  /// The device's copy of host values.
  template <class T>
  Buffer buffer(const std::vector<T>& values) {
    Buffer made(device, std::max<std::size_t>(values.size() * sizeof(T), 1));
    if (!values.empty()) {
      device.upload(made.data(), values.data(), values.size() * sizeof(T), *stream);
    }
    return made;
  }
  template <class T>
  std::vector<T> values(const Buffer& from, std::size_t count) {
    std::vector<T> back(count);
    device.download(back.data(), from.data(), count * sizeof(T), *stream);
    stream->synchronize();
    return back;
  }

  /// The same random weight on both sides, of values below 1 / sqrt(cols).
  struct Weights {
    Weight gpu, host;
  };
  Weights random_weight(Random& random, DType type, std::int64_t rows, std::int64_t cols) {
    Weights made{operators->make_weight(type, rows, cols),
                 reference->make_weight(type, rows, cols)};
    const float bound = 1.0f / std::sqrt(static_cast<float>(cols));
    const std::vector<float> values = random.vector(rows * cols, -bound, bound);
    std::vector<std::byte> stored(rows * cols * size_of(host_type(type)));
    convert(values.data(), DType::f32, stored.data(), host_type(type), values.size());
    operators->fill_rows(made.gpu, 0, stored.data(), rows, cols, *stream);
    reference->fill_rows(made.host, 0, stored.data(), rows, cols, *host_stream);
    return made;
  }

  cuda::CudaDevice device;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<Operators> operators;
  CpuDevice host;
  std::unique_ptr<Stream> host_stream;
  std::unique_ptr<Operators> reference;
};

/// A Matrix on the device, gaps between the rows included.
class GpuMatrix {
 public:
  GpuMatrix(Gpu& gpu, Matrix& from) : gpu_(gpu), shape_(from) {
    const Activations view = shape_.view();
    bytes_ = static_cast<std::size_t>(view.rows * view.stride) * sizeof(float);
    buffer_ = Buffer(gpu.device, std::max<std::size_t>(bytes_, 1));
    if (bytes_ > 0) gpu.device.upload(buffer_.data(), view.data, bytes_, *gpu.stream);
  }
  Activations view() {
    const Activations host = shape_.view();
    return {buffer_.as<float>(), host.rows, host.cols, host.stride};
  }
  /// What the device has now.
  Matrix& back() {
    if (bytes_ > 0) {
      gpu_.device.download(shape_.view().data, buffer_.data(), bytes_, *gpu_.stream);
    }
    gpu_.stream->synchronize();
    return shape_;
  }

 private:
  Gpu& gpu_;
  Matrix shape_;
  Buffer buffer_;
  std::size_t bytes_ = 0;
};

}  // namespace spd::test
