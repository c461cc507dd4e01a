#include "comm/stream_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace spd {

void stream_copy(void* to, const void* from, std::size_t bytes) {
#if defined(__SSE2__)
  // Whole lines, so that each leaves in one piece; what is before and behind them is copied
  // plainly.
  constexpr std::size_t kLine = 64;
  auto* out = static_cast<std::byte*>(to);
  const auto* in = static_cast<const std::byte*>(from);
  std::size_t at = std::min(bytes, -reinterpret_cast<std::uintptr_t>(out) % kLine);
  std::memcpy(out, in, at);
  for (; at + kLine <= bytes; at += kLine) {
    for (std::size_t part = 0; part < kLine; part += sizeof(__m128i)) {
      _mm_stream_si128(reinterpret_cast<__m128i*>(out + at + part),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + at + part)));
    }
  }
  std::memcpy(out + at, in + at, bytes - at);
  _mm_sfence();
#else
  std::memcpy(to, from, bytes);
#endif
}

}  // namespace spd
