// Encoded on a GPU and on the host: the same bits.
#include <limits>

#include "comm/wire_format.h"
#include "kernels/cuda/wire.h"
#include "tests/kernels/cuda/cuda_fixture.h"

namespace spd::test {
namespace {

using CudaWire = CudaTest;

std::vector<float> hard_values(std::size_t count) {
  Random random;
  std::vector<float> values = random.vector(static_cast<std::int64_t>(count), -3.0f, 3.0f);
  constexpr float kHard[] = {0.0f,   -0.0f, 1e-40f,     -1e-38f,
                             1e-36f, 3e38f, 1.0039062f, -1.0117188f};  // ties of bf16
  for (std::size_t i = 0; i < count; i += 5) values[i] = kHard[i / 5 % std::size(kHard)];
  if (count > 200) {
    values[100] = std::numeric_limits<float>::infinity();
    values[170] = std::numeric_limits<float>::quiet_NaN();
    std::fill(values.begin() + 64, values.begin() + 96, 0.0f);
  }
  return values;
}

TEST_F(CudaWire, SameBitsAsTheHost) {
  Gpu gpu;
  for (const auto& [format, wire] : {std::pair(WireFormat::bf16, cuda::Wire::bf16),
                                     std::pair(WireFormat::int8, cuda::Wire::int8)}) {
    for (const std::size_t count : {1, 31, 32, 33, 576, 1001}) {
      const std::vector<float> values = hard_values(count);
      std::vector<std::byte> wanted(wire_bytes(format, count));
      encode(format, values.data(), count, wanted.data());
      const Buffer gpu_values = gpu.buffer(values);
      const Buffer encoded(gpu.device, wanted.size());
      const cuda::Queue queue = gpu.device.queue(*gpu.stream);
      cuda::encode(wire, gpu_values.as<float>(), static_cast<std::int64_t>(count), encoded.data(),
                   queue);
      EXPECT_EQ(gpu.values<std::byte>(encoded, wanted.size()), wanted)
          << name(format) << ", " << count;
      for (const bool adds : {false, true}) {
        std::vector<float> sums(count, 1.25f);
        const Buffer gpu_sums = gpu.buffer(sums);
        cuda::decode(wire, encoded.data(), static_cast<std::int64_t>(count), gpu_sums.as<float>(),
                     adds, queue);
        adds ? decode_add(format, wanted.data(), count, sums.data())
             : decode(format, wanted.data(), count, sums.data());
        const auto got = gpu.values<float>(gpu_sums, count);
        for (std::size_t i = 0; i < count; ++i) {
          ASSERT_TRUE(got[i] == sums[i] || (std::isnan(got[i]) && std::isnan(sums[i])))
              << name(format) << ", " << i << " of " << count << ": " << got[i] << " for "
              << sums[i];
        }
      }
    }
  }
}

}  // namespace
}  // namespace spd::test
