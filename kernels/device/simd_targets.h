// The instruction sets that the Highway files are compiled for. Include before any Highway header.
//
// x86: SSE4 (the baseline, in every 64-bit processor since 2008), AVX2 and AVX-512; at run time the
// best one that the processor has is taken. Fewer sets than Highway's default, for build time.
#pragma once

#if defined(__x86_64__)
#define HWY_WANT_SSSE3 1
#define HWY_WANT_SSE4 1
#define HWY_DISABLED_TARGETS HWY_SSSE3
#elif defined(__aarch64__)
// Kernels keep arrays of vectors, which scalable vectors do not allow.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif
