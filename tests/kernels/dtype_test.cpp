#include "kernels/device/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/device/error.h"

namespace spd {
namespace {

// Every 16-bit pattern that is a number survives the way to f32 and back.
TEST(DType, SixteenBitPatternsRoundTrip) {
  for (unsigned bits = 0; bits <= 0xffff; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    if (!std::isnan(bf16_to_f32(pattern))) {
      EXPECT_EQ(f32_to_bf16(bf16_to_f32(pattern)), pattern);
    }
    if (!std::isnan(f16_to_f32(pattern))) {
      EXPECT_EQ(f32_to_f16(f16_to_f32(pattern)), pattern);
    }
  }
}

TEST(DType, RoundsToNearestEven) {
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(1.0f + 1.0f / 256)), 1.0f);  // half way, even below
  EXPECT_EQ(bf16_to_f32(f32_to_bf16(1.0f + 3.0f / 256)),
            1.0f + 4.0f / 256);  // half way, even above
  EXPECT_EQ(f16_to_f32(f32_to_f16(1.0f + 1.0f / 2048)), 1.0f);
  EXPECT_EQ(f16_to_f32(f32_to_f16(1.0f + 3.0f / 2048)), 1.0f + 4.0f / 2048);
  EXPECT_EQ(f16_to_f32(f32_to_f16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(f16_to_f32(f32_to_f16(65520.0f))));
}

TEST(DType, NanStaysNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(nan))));
  EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(nan))));
}

TEST(DType, NamesRoundTripAndUnknownOnesAreRefused) {
  for (DType type : {DType::f32, DType::bf16, DType::f16}) {
    EXPECT_EQ(parse_dtype(name(type)), type);
  }
  EXPECT_THROW(parse_dtype("int3"), Error);
}

}  // namespace
}  // namespace spd
