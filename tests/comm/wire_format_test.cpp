#include "comm/wire_format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/device/dtype.h"
#include "kernels/device/error.h"

namespace spd {
namespace {

std::vector<float> random_values(std::size_t count, float scale) {
  std::mt19937 random(static_cast<unsigned>(count));
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<std::byte> encoded(WireFormat format, const std::vector<float>& values) {
  std::vector<std::byte> bytes(wire_bytes(format, values.size()) + 1, std::byte{0x5a});
  encode(format, values.data(), values.size(), bytes.data());
  EXPECT_EQ(bytes.back(), std::byte{0x5a}) << "wrote beyond wire_bytes";
  return bytes;
}

std::vector<float> decoded(WireFormat format, const std::vector<std::byte>& bytes,
                           std::size_t count) {
  std::vector<float> values(count + 1, 7.0f);
  decode(format, bytes.data(), count, values.data());
  EXPECT_EQ(values.back(), 7.0f) << "wrote beyond the last value";
  values.pop_back();
  return values;
}

TEST(WireFormat, NamesAreReadBack) {
  for (WireFormat format : kWireFormats) EXPECT_EQ(parse_wire_format(name(format)), format);
  EXPECT_THROW(parse_wire_format("fp8"), Error);
}

TEST(WireFormat, Bytes) {
  EXPECT_EQ(wire_bytes(WireFormat::f32, 33), 132u);
  EXPECT_EQ(wire_bytes(WireFormat::bf16, 33), 66u);
  EXPECT_EQ(wire_bytes(WireFormat::int8, 33), 41u);
  EXPECT_EQ(wire_bytes(WireFormat::int8, 64), 72u);
  EXPECT_EQ(wire_bytes(WireFormat::int8, 0), 0u);
}

class WireLengths : public testing::TestWithParam<std::size_t> {};

TEST_P(WireLengths, Bf16IsTheNearestOfTheDeviceTypes) {
  const auto values = random_values(GetParam(), 3.0f);
  const auto got = decoded(WireFormat::bf16, encoded(WireFormat::bf16, values), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(got[i], bf16_to_f32(f32_to_bf16(values[i]))) << i;
  }
}

TEST_P(WireLengths, Int8IsWithinHalfAStepOfItsBlock) {
  for (float scale : {1e-20f, 1.0f, 1e30f}) {
    const auto values = random_values(GetParam(), scale);
    const auto got = decoded(WireFormat::int8, encoded(WireFormat::int8, values), values.size());
    for (std::size_t block = 0; block < values.size(); block += kWireBlock) {
      const std::size_t end = std::min(values.size(), block + kWireBlock);
      float largest = 0.0f;
      for (std::size_t i = block; i < end; ++i) largest = std::max(largest, std::abs(values[i]));
      for (std::size_t i = block; i < end; ++i) {
        EXPECT_LE(std::abs(got[i] - values[i]), largest / 254 * 1.0001f) << i;
      }
    }
  }
}

TEST_P(WireLengths, AddingAndRoundTripAreDecoding) {
  const auto values = random_values(GetParam(), 1.0f);
  const auto before = random_values(GetParam(), 2.0f);
  for (WireFormat format : kWireFormats) {
    const auto bytes = encoded(format, values);
    const auto plain = decoded(format, bytes, values.size());
    auto sum = before;
    decode_add(format, bytes.data(), sum.size(), sum.data());
    auto trip = values;
    round_trip(format, trip.data(), trip.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(sum[i], before[i] + plain[i]) << name(format) << i;
      EXPECT_EQ(trip[i], plain[i]) << name(format) << i;
    }
  }
}

TEST_P(WireLengths, CutAtBlocksItIsTheSame) {
  const auto values = random_values(GetParam(), 1.0f);
  for (WireFormat format : kWireFormats) {
    const auto whole = encoded(format, values);
    auto parts = std::vector<std::byte>(whole.size(), std::byte{0x5a});
    for (std::size_t at = 0; at < values.size(); at += 2 * kWireBlock) {
      encode(format, values.data() + at, std::min(2 * kWireBlock, values.size() - at),
             parts.data() + wire_bytes(format, at));
    }
    EXPECT_EQ(parts, whole) << name(format);
  }
}

INSTANTIATE_TEST_SUITE_P(Lengths, WireLengths,
                         testing::Values(1, 7, 31, 32, 33, 64, 100, 576, 1001));

TEST(WireFormat, WhatIsNotFiniteStaysSo) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (WireFormat format : kWireFormats) {
    for (float bad : {kInfinity, -kInfinity, kNan, -kNan}) {
      std::vector<float> values(70, 1.0f);
      values[40] = bad;
      const auto got = decoded(format, encoded(format, values), values.size());
      EXPECT_FALSE(std::isfinite(got[40])) << name(format) << " " << bad;
      EXPECT_TRUE(std::isfinite(got[31]) && std::isfinite(got[64])) << name(format);
    }
  }
}

TEST(WireFormat, ZerosAndTheVerySmall) {
  for (WireFormat format : kWireFormats) {
    const std::vector<float> values = {0.0f, -0.0f, 1e-44f, -1e-42f, 3e-38f};
    const auto got = decoded(format, encoded(format, values), values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(got[i], values[i], 1e-36f) << name(format) << i;
    }
  }
}

}  // namespace
}  // namespace spd
