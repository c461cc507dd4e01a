#include "comm/wire_kernels.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "kernels/device/simd_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "comm/wire_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace spd {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

using F32 = hn::ScalableTag<float>;
using U32 = hn::RebindToUnsigned<F32>;
using I32 = hn::RebindToSigned<F32>;
using U16 = hn::Rebind<std::uint16_t, F32>;
using I8 = hn::Rebind<std::int8_t, F32>;
using Vec = hn::Vec<F32>;
constexpr std::size_t kLanes = HWY_MAX_BYTES / sizeof(float);
static_assert(kWireBlock % kLanes == 0);

constexpr std::int32_t kMagnitude = 0x7fffffff;
constexpr std::int32_t kInfinity = 0x7f800000;

void bf16_block(const float* from, std::byte* to) {
  const U32 d;
  for (std::size_t i = 0; i < kWireBlock; i += kLanes) {
    const auto bits = hn::BitCast(d, hn::LoadU(F32(), from + i));
    const auto upper = hn::ShiftRight<16>(bits);
    const auto odd = hn::And(upper, hn::Set(d, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(d, 0x7fff))));
    // A NaN must not be rounded up to an infinity or to zero.
    const auto magnitude = hn::BitCast(I32(), hn::And(bits, hn::Set(d, kMagnitude)));
    const auto nan = hn::RebindMask(d, hn::Gt(magnitude, hn::Set(I32(), kInfinity)));
    const auto quiet = hn::Or(upper, hn::Set(d, 0x40));
    hn::StoreU(hn::TruncateTo(U16(), hn::IfThenElse(nan, quiet, rounded)), U16(),
               reinterpret_cast<std::uint16_t*>(to) + i);
  }
}

Vec from_bf16(const std::byte* from, std::size_t i) {
  const auto bits = hn::LoadU(U16(), reinterpret_cast<const std::uint16_t*>(from) + i);
  return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), bits)));
}

void int8_block(const float* from, std::byte* to) {
  // As integers: magnitudes of floats compare alike, and infinity and NaN are the largest.
  auto most = hn::Zero(I32());
  for (std::size_t i = 0; i < kWireBlock; i += kLanes) {
    const auto bits = hn::BitCast(I32(), hn::LoadU(F32(), from + i));
    most = hn::Max(most, hn::And(bits, hn::Set(I32(), kMagnitude)));
  }
  const std::int32_t largest = hn::GetLane(hn::MaxOfLanes(I32(), most));
  constexpr float kSteps = 127.0f;
  // Below this 127 / largest would overflow, and the values are nothing beside any others.
  constexpr auto kNothing = std::bit_cast<std::int32_t>(1e-36f);
  float scale = 0.0f;
  float inverse = 0.0f;
  if (largest >= kInfinity) {
    scale = std::bit_cast<float>(kInfinity | 0x400000);  // NaN
  } else if (largest >= kNothing) {
    scale = std::bit_cast<float>(largest) / kSteps;
    inverse = kSteps / std::bit_cast<float>(largest);
  }
  std::memcpy(to, &scale, sizeof scale);
  to += sizeof scale;
  const bool zeros = inverse == 0.0f;  // times an infinity that would be NaN
  for (std::size_t i = 0; i < kWireBlock; i += kLanes) {
    const Vec scaled = hn::Mul(hn::LoadU(F32(), from + i), hn::Set(F32(), inverse));
    const auto nearest = hn::NearestInt(zeros ? hn::Zero(F32()) : scaled);
    hn::StoreU(hn::DemoteTo(I8(), nearest), I8(), reinterpret_cast<std::int8_t*>(to) + i);
  }
}

Vec from_int8(const std::byte* from, std::size_t i) {
  float scale;
  std::memcpy(&scale, from, sizeof scale);
  const auto* values = reinterpret_cast<const std::int8_t*>(from + sizeof scale);
  const auto wide = hn::PromoteTo(I32(), hn::LoadU(I8(), values + i));
  return hn::Mul(hn::Set(F32(), scale), hn::ConvertTo(F32(), wide));
}

/// take(i, vector) for all vectors of a block.
template <class Take>
HWY_INLINE void for_decoded(WireFormat format, const std::byte* from, Take&& take) {
  for (std::size_t i = 0; i < kWireBlock; i += kLanes) {
    take(i, format == WireFormat::bf16 ? from_bf16(from, i) : from_int8(from, i));
  }
}

/// take(where it belongs, vector) for all vectors of a payload. The last block, where it is not
/// whole, is gone through in copies that are.
template <class Take>
HWY_INLINE void decode_each(WireFormat format, const std::byte* from, std::size_t count, float* to,
                            Take&& take) {
  std::size_t at = 0;
  for (; at + kWireBlock <= count; at += kWireBlock) {
    for_decoded(format, from, [&](std::size_t i, Vec v) HWY_ATTR { take(to + at + i, v); });
    from += wire_bytes(format, kWireBlock);
  }
  if (at == count) return;
  std::array<std::byte, wire_bytes(WireFormat::bf16, kWireBlock)> last{};
  std::memcpy(last.data(), from, wire_bytes(format, count - at));
  std::array<float, kWireBlock> values{};
  std::memcpy(values.data(), to + at, (count - at) * sizeof(float));
  for_decoded(format, last.data(),
              [&](std::size_t i, Vec v) HWY_ATTR { take(values.data() + i, v); });
  std::memcpy(to + at, values.data(), (count - at) * sizeof(float));
}

void encode_block(WireFormat format, const float* from, std::byte* to) {
  format == WireFormat::bf16 ? bf16_block(from, to) : int8_block(from, to);
}

}  // namespace

void Encode(WireFormat format, const float* from, std::size_t count, std::byte* to) {
  std::size_t at = 0;
  for (; at + kWireBlock <= count; at += kWireBlock) {
    encode_block(format, from + at, to);
    to += wire_bytes(format, kWireBlock);
  }
  if (at == count) return;
  std::array<float, kWireBlock> values{};
  std::memcpy(values.data(), from + at, (count - at) * sizeof(float));
  std::array<std::byte, wire_bytes(WireFormat::bf16, kWireBlock)> last;
  encode_block(format, values.data(), last.data());
  std::memcpy(to, last.data(), wire_bytes(format, count - at));
}

void Decode(WireFormat format, const std::byte* from, std::size_t count, float* to) {
  decode_each(format, from, count, to, [](float* at, Vec v) HWY_ATTR { hn::StoreU(v, F32(), at); });
}

void DecodeAdd(WireFormat format, const std::byte* from, std::size_t count, float* to) {
  decode_each(format, from, count, to, [](float* at, Vec v) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(F32(), at), v), F32(), at);
  });
}

void RoundTrip(WireFormat format, float* data, std::size_t count) {
  std::array<std::byte, wire_bytes(WireFormat::bf16, kWireBlock)> block;
  for (std::size_t at = 0; at < count; at += kWireBlock) {
    const std::size_t n = std::min(kWireBlock, count - at);
    Encode(format, data + at, n, block.data());
    Decode(format, block.data(), n, data + at);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace spd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spd {

HWY_EXPORT(Encode);
HWY_EXPORT(Decode);
HWY_EXPORT(DecodeAdd);
HWY_EXPORT(RoundTrip);

void encode_blocks(WireFormat format, const float* from, std::size_t count, std::byte* to) {
  HWY_DYNAMIC_DISPATCH(Encode)(format, from, count, to);
}
void decode_blocks(WireFormat format, const std::byte* from, std::size_t count, float* to) {
  HWY_DYNAMIC_DISPATCH(Decode)(format, from, count, to);
}
void decode_add_blocks(WireFormat format, const std::byte* from, std::size_t count, float* to) {
  HWY_DYNAMIC_DISPATCH(DecodeAdd)(format, from, count, to);
}
void round_trip_blocks(WireFormat format, float* data, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(RoundTrip)(format, data, count);
}

}  // namespace spd
#endif
