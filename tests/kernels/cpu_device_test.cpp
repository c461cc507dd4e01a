// What the CPU makes of a device's promises: everything is done when a call returns.
#include "kernels/device/cpu_device.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/device/error.h"

namespace spd {
namespace {

TEST(CpuDevice, EventsAreDoneAndTimeGoesOn) {
  CpuDevice device;
  const auto stream = device.make_stream(), other = device.make_stream();
  const auto begin = device.make_event(), end = device.make_event();
  begin->record(*stream);
  end->record(*stream);
  other->wait(*end);
  end->synchronize();
  EXPECT_TRUE(end->done());
  EXPECT_TRUE(stream->done());
  EXPECT_GE(end->seconds_since(*begin), 0.0);
}

TEST(CpuDevice, CapturesNothing) {
  CpuDevice device;
  EXPECT_FALSE(device.captures());
  EXPECT_THROW(device.make_stream()->begin_capture(), Error);
}

TEST(CpuDevice, CopiesAndHostBuffers) {
  CpuDevice device;
  const auto stream = device.make_stream();
  HostBuffer from(device, 40);
  for (int i = 0; i < 10; ++i) from.as<int>()[i] = i;
  Buffer a(device, 40), b(device, 40);
  device.upload(a.data(), from.as<int>(), 40, *stream);
  device.copy(b.data(), a.data(), 40, *stream);
  std::vector<int> back(10);
  device.download(back.data(), b.data(), 40, *stream);
  EXPECT_EQ(back[9], 9);
  HostBuffer taken = std::move(from);
  EXPECT_EQ(taken.as<int>()[3], 3);
  EXPECT_EQ(taken.bytes(), 40u);
}

TEST(CpuDevice, MemoryIsWhatTheMachineHas) {
  CpuDevice device;
  const MemoryInfo memory = device.memory();
  EXPECT_GT(memory.total, 0u);
  EXPECT_LE(memory.free, memory.total);
}

}  // namespace
}  // namespace spd
