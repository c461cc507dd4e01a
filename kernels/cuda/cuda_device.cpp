#include "kernels/cuda/cuda_device.h"

#include <fmt/format.h>

#include "kernels/cuda/cuda_error.h"
#include "kernels/cuda/probe.h"
#include "kernels/device/error.h"

namespace spd::cuda {

namespace {

class CudaStream final : public Stream {
 public:
  CudaStream(CudaDevice& device, MemoryCache& cache);
  ~CudaStream() override;
  void synchronize() override;
  bool done() override;
  void wait(Event& event) override;
  void begin_capture() override;
  std::unique_ptr<Graph> end_capture() override;
  cudaStream_t handle() const { return handle_; }

 private:
  CudaDevice& device_;
  MemoryCache& cache_;
  cudaStream_t handle_ = nullptr;
};

class CudaEvent final : public Event {
 public:
  explicit CudaEvent(CudaDevice& device) : device_(device) {
    device_.use();
    check(cudaEventCreateWithFlags(&handle_, cudaEventDefault), "creating an event");
  }
  ~CudaEvent() override { note(cudaEventDestroy(handle_), "destroying an event"); }
  void record(Stream& stream) override {
    check(cudaEventRecord(handle_, CudaDevice::handle(stream)), "recording an event");
  }
  bool done() override {
    const cudaError_t error = cudaEventQuery(handle_);
    if (error == cudaErrorNotReady) return false;
    check(error, "asking for an event");
    return true;
  }
  void synchronize() override {
    device_.use();
    check(cudaEventSynchronize(handle_), "waiting for an event");
  }
  double seconds_since(Event& earlier) override {
    float milliseconds = 0.0f;
    check(cudaEventElapsedTime(&milliseconds, static_cast<CudaEvent&>(earlier).handle_, handle_),
          "reading the time between two events");
    return milliseconds * 1e-3;
  }
  cudaEvent_t handle() const { return handle_; }

 private:
  CudaDevice& device_;
  cudaEvent_t handle_ = nullptr;
};

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(cudaGraph_t captured) {
    const cudaError_t counted = cudaGraphGetNodes(captured, nullptr, &size_);
    const cudaError_t made = cudaGraphInstantiate(&handle_, captured, 0);
    note(cudaGraphDestroy(captured), "destroying a graph");
    check(counted, "counting a graph's nodes");
    check(made, "making a graph");
  }
  ~CudaGraph() override { note(cudaGraphExecDestroy(handle_), "destroying a graph"); }
  void launch(Stream& stream) override {
    check(cudaGraphLaunch(handle_, CudaDevice::handle(stream)), "launching a graph");
  }
  std::size_t size() const override { return size_; }

 private:
  cudaGraphExec_t handle_ = nullptr;
  std::size_t size_ = 0;
};

CudaStream::CudaStream(CudaDevice& device, MemoryCache& cache) : device_(device), cache_(cache) {
  device_.use();
  check(cudaStreamCreateWithFlags(&handle_, cudaStreamNonBlocking), "creating a stream");
  cache_.add_stream(handle_);
}

CudaStream::~CudaStream() {
  cache_.remove_stream(handle_);
  // Memory that its work uses may be handed out again from now on.
  note(cudaStreamSynchronize(handle_), "ending a stream");
  note(cudaStreamDestroy(handle_), "destroying a stream");
}

void CudaStream::synchronize() {
  device_.use();
  check(cudaStreamSynchronize(handle_), "waiting for a stream");
}

bool CudaStream::done() {
  const cudaError_t error = cudaStreamQuery(handle_);
  if (error == cudaErrorNotReady) return false;
  check(error, "asking a stream");
  return true;
}

void CudaStream::wait(Event& event) {
  check(cudaStreamWaitEvent(handle_, static_cast<CudaEvent&>(event).handle(), 0),
        "waiting for an event");
}

void CudaStream::begin_capture() {
  device_.use();
  check(cudaStreamBeginCapture(handle_, cudaStreamCaptureModeThreadLocal), "capturing a graph");
}

std::unique_ptr<Graph> CudaStream::end_capture() {
  cudaGraph_t captured = nullptr;
  check(cudaStreamEndCapture(handle_, &captured), "capturing a graph");
  return std::make_unique<CudaGraph>(captured);
}

}  // namespace

CudaDevice::CudaDevice(int ordinal) : ordinal_(ordinal) {
  const GpuInfo gpu = require_gpu(ordinal);
  name_ = gpu.name;
  multiprocessors_ = gpu.multiprocessors;
  constexpr int kOverlapsFrom = 9;  // compute capability of programmatic launches
  programmatic_ = gpu.major >= kOverlapsFrom;
  use();
  cache_ = std::make_unique<MemoryCache>();
}

CudaDevice::~CudaDevice() { note(cudaSetDevice(ordinal_), "choosing a GPU"); }

void CudaDevice::use() { check(cudaSetDevice(ordinal_), "choosing a GPU"); }

std::unique_ptr<Stream> CudaDevice::make_stream() {
  return std::make_unique<CudaStream>(*this, *cache_);
}

std::unique_ptr<Event> CudaDevice::make_event() { return std::make_unique<CudaEvent>(*this); }

MemoryInfo CudaDevice::memory() {
  use();
  MemoryInfo info;
  check(cudaMemGetInfo(&info.free, &info.total), "asking for free memory");
  return info;
}

void* CudaDevice::allocate(std::size_t bytes) {
  use();
  if (void* const data = cache_->allocate(bytes)) return data;
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  const MemoryInfo info = memory();
  throw Error(
      ErrorCode::system,
      fmt::format("cannot allocate {:.3f} GiB on GPU {} ({}): {:.3f} of {:.3f} GiB are free",
                  static_cast<double>(bytes) / kGiB, ordinal_, name_,
                  static_cast<double>(info.free) / kGiB, static_cast<double>(info.total) / kGiB),
      "use more ranks, a shorter context or a smaller batch, or see with nvidia-smi who "
      "else uses the GPU");
}

void CudaDevice::release(void* data, std::size_t bytes) noexcept {
  note(cudaSetDevice(ordinal_), "choosing a GPU");
  cache_->release(data, bytes);
}

void* CudaDevice::allocate_host(std::size_t bytes) {
  use();
  void* data = nullptr;
  const cudaError_t error = cudaHostAlloc(&data, bytes == 0 ? 1 : bytes, cudaHostAllocPortable);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error(ErrorCode::system, fmt::format("cannot pin {} bytes of host memory", bytes),
                "raise the limit on locked memory (ulimit -l), or use a smaller batch");
  }
  check(error, "pinning host memory");
  return data;
}

void CudaDevice::release_host(void* data, std::size_t) noexcept {
  note(cudaFreeHost(data), "freeing pinned memory");
}

void CudaDevice::upload(void* device_to, const void* host_from, std::size_t bytes, Stream& stream) {
  use();
  check(cudaMemcpyAsync(device_to, host_from, bytes, cudaMemcpyHostToDevice, handle(stream)),
        "copying to the GPU");
}

void CudaDevice::download(void* host_to, const void* device_from, std::size_t bytes,
                          Stream& stream) {
  use();
  check(cudaMemcpyAsync(host_to, device_from, bytes, cudaMemcpyDeviceToHost, handle(stream)),
        "copying from the GPU");
}

void CudaDevice::copy(void* to, const void* from, std::size_t bytes, Stream& stream) {
  use();
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, handle(stream)),
        "copying within the GPU");
}

Queue CudaDevice::queue(Stream& stream) {
  use();
  return {handle(stream), multiprocessors_, programmatic_};
}

bool CudaDevice::capturing(Stream& stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(handle(stream), &status), "asking a stream");
  return status != cudaStreamCaptureStatusNone;
}

cudaStream_t CudaDevice::handle(Stream& stream) {
  return static_cast<CudaStream&>(stream).handle();
}

}  // namespace spd::cuda
