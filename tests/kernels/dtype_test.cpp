#include "kernels/device/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

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

// A row's scale is the least power of two that reaches all of it, and what it holds is within half
// a unit, and in bf16 exactly.
TEST(DType, RowsOfIntegersAreWithinHalfAUnit) {
  std::mt19937 random(7);
  std::normal_distribution<float> values;
  for (const float size : {1e-6f, 0.03f, 1.0f, 254.0f}) {
    std::vector<float> row(100);
    for (float& value : row) value = size * values(random);
    const float largest =
        std::fabs(*std::ranges::max_element(row, {}, [](float value) { return std::fabs(value); }));
    const float scale = i8_scale(row.data(), row.size());
    int exponent = 0;
    EXPECT_EQ(std::frexp(scale, &exponent), 0.5f);
    EXPECT_LE(largest, 127 * scale);
    EXPECT_GT(largest, 127 * scale / 2);
    for (const float value : row) {
      const float held = scale * f32_to_i8(value, scale);
      EXPECT_LE(std::fabs(held - value), scale / 2);
      EXPECT_EQ(bf16_to_f32(f32_to_bf16(held)), held);
    }
  }
  const float whole[] = {254.0f, -3.0f};
  EXPECT_EQ(i8_scale(whole, 2), 2.0f);
  EXPECT_EQ(f32_to_i8(-254.0f, 2.0f), -127);
  const float nothing[] = {0.0f, 0.0f};
  EXPECT_EQ(f32_to_i8(0.0f, i8_scale(nothing, 2)), 0);
}

TEST(DType, HasNoElementsOfI8WithoutTheirScale) {
  const float value = 1.0f;
  std::int8_t element = 0;
  EXPECT_THROW(convert(&value, DType::f32, &element, DType::i8, 1), Error);
}

TEST(DType, NamesRoundTripAndUnknownOnesAreRefused) {
  for (DType type : {DType::f32, DType::bf16, DType::f16}) {
    EXPECT_EQ(parse_dtype(name(type)), type);
  }
  EXPECT_THROW(parse_dtype("int3"), Error);
}

}  // namespace
}  // namespace spd
