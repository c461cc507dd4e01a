// A block takes a tile of rows and one query head; each of its warps has 16 rows. Keys and values
// come in tiles of 64 positions through shared memory, values turned so that two positions of one
// element lie side by side, as tensor cores want their second operand. The soft-max runs along (Dao
// 2023, FlashAttention-2): what was summed is scaled when a larger score comes.
#include "kernels/cuda/prefill_attention.h"

#include "kernels/cuda/cache.cuh"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"

namespace spd::cuda {

namespace {

constexpr int kWarps = kPrefillTile / 16;
constexpr int kThreads = kWarps * kWarp;
constexpr int kPositions = 64;  // of a tile of keys
constexpr int kGap = 8;         // elements between rows, so that they start in different banks
constexpr float kLowest = -1e30f;

template <DType kType>
__device__ std::uint32_t pack(float low, float high) {
  typename Elements<kType>::Type two[2];
  Elements<kType>::store(two, low);
  Elements<kType>::store(two + 1, high);
  return static_cast<std::uint32_t>(bits_of(two[0])) | static_cast<std::uint32_t>(bits_of(two[1]))
                                                           << 16;
}

template <DType kType>
__device__ void multiply(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  if constexpr (kType == DType::bf16) {
    multiply_tile(d, a, b);
  } else {
    multiply_tile_f16(d, a, b);
  }
}

/// Rows and columns of a lane's share of a 16 x 8 result: rows `group` and `group + 8`, columns
/// `pair` and `pair + 1`.
struct Lane {
  int group, pair;
  __device__ explicit Lane(int lane) : group(lane / 4), pair(lane % 4 * 2) {}
};

/// What a warp knows of its 16 rows.
template <int kHeadDim>
struct Sums {
  float max[2] = {kLowest, kLowest};  // of rows `group`, `group + 8`
  float sum[2] = {};
  float out[kHeadDim / 8][4] = {};
};

/// 64 positions of one KV head, as two shared arrays.
template <DType kType, int kHeadDim>
struct Tiles {
  using Type = typename Elements<kType>::Type;
  static constexpr int kKeyStride = kHeadDim + kGap, kValueStride = kPositions + kGap;
  Type* keys;    // [kPositions, kKeyStride]
  Type* values;  // [kHeadDim, kValueStride]

  /// Positions beyond the last are zeros: their weight is nothing, but nothing times NaN is NaN.
  __device__ void load(const CacheView& cache, int slot, int kv_head, int first, int end) const {
    constexpr int kVector = Elements<kType>::kCount, kVectors = kHeadDim / kVector;
    for (int i = threadIdx.x; i < kPositions * kVectors; i += kThreads) {
      const int p = i / kVectors, d = i % kVectors * kVector;
      uint4 key{}, value{};
      if (first + p < end) {
        const std::int64_t at = cache_offset(cache, slot, kv_head, first + p) + d;
        key = *reinterpret_cast<const uint4*>(static_cast<const Type*>(cache.keys) + at);
        value = *reinterpret_cast<const uint4*>(static_cast<const Type*>(cache.values) + at);
      }
      *reinterpret_cast<uint4*>(keys + p * kKeyStride + d) = key;
      const std::uint32_t words[4] = {value.x, value.y, value.z, value.w};
      auto* const turned = reinterpret_cast<std::uint16_t*>(values);
#pragma unroll
      for (int j = 0; j < kVector; ++j) {
        turned[(d + j) * kValueStride + p] = static_cast<std::uint16_t>(words[j / 2] >> j % 2 * 16);
      }
    }
  }
};

__device__ std::uint32_t pair_at(const void* base, int element) {
  return *reinterpret_cast<const std::uint32_t*>(static_cast<const std::uint16_t*>(base) + element);
}

/// The query's fragments: 16 rows of the head, scaled.
template <DType kType, int kHeadDim>
__device__ void load_query(const PrefillArgs& args, const QueryTile& tile, int first_row, int head,
                           Lane lane, std::uint32_t (&query)[kHeadDim / 16][4]) {
#pragma unroll
  for (int k = 0; k < kHeadDim / 16; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = first_row + lane.group + i % 2 * 8;
      float two[2] = {};
      if (row < tile.count) {
        const float* const from =
            args.q[tile.row + row] + head * kHeadDim + k * 16 + lane.pair + i / 2 * 8;
        two[0] = from[0] * args.scale;
        two[1] = from[1] * args.scale;
      }
      query[k][i] = pack<kType>(two[0], two[1]);
    }
  }
}

/// Turns scores into weights, and scales what was summed before.
template <int kHeadDim>
__device__ void weigh(float (&scores)[kPositions / 8][4], Sums<kHeadDim>& sums) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float max = sums.max[half];
#pragma unroll
    for (auto& tile : scores) max = fmaxf(max, fmaxf(tile[2 * half], tile[2 * half + 1]));
    // The four lanes of a row lie side by side.
    max = fmaxf(max, __shfl_xor_sync(kAllLanes, max, 1));
    max = fmaxf(max, __shfl_xor_sync(kAllLanes, max, 2));
    const float keep = expf(sums.max[half] - max);
    sums.max[half] = max;
    sums.sum[half] *= keep;
#pragma unroll
    for (auto& tile : scores) {
#pragma unroll
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        tile[i] = tile[i] <= kLowest ? 0.0f : expf(tile[i] - max);
        sums.sum[half] += tile[i];
      }
    }
#pragma unroll
    for (auto& tile : sums.out) {
      tile[2 * half] *= keep;
      tile[2 * half + 1] *= keep;
    }
  }
}

template <DType kType, int kHeadDim>
__global__ void __launch_bounds__(kThreads)
    prefill_kernel(const __grid_constant__ PrefillArgs args) {
  using T = Tiles<kType, kHeadDim>;
  SPD_SHARED(typename T::Type, keys, kPositions * T::kKeyStride);
  SPD_SHARED(typename T::Type, values, kHeadDim * T::kValueStride);
  let_next_begin();
  wait_for_previous();
  // Later tiles see more positions: they begin first.
  const QueryTile tile = args.tiles[args.tile_count - 1 - static_cast<int>(blockIdx.x)];
  const int head = blockIdx.y, kv_head = args.kv_head_of[head];
  const int warp = threadIdx.x / kWarp, first_row = warp * 16;
  const Lane lane(threadIdx.x % kWarp);
  const T tiles{keys, values};
  std::uint32_t query[kHeadDim / 16][4];
  load_query<kType, kHeadDim>(args, tile, first_row, head, lane, query);
  Sums<kHeadDim> sums;

  const int end = tile.position + tile.count;
  const int seen = args.window > 0 ? tile.position + 1 - args.window : 0;
  for (int first = seen > 0 ? seen / kPositions * kPositions : 0; first < end;
       first += kPositions) {
    __syncthreads();  // the last tile has been read
    tiles.load(args.cache, tile.slot, kv_head, first, end);
    __syncthreads();
    float scores[kPositions / 8][4] = {};
#pragma unroll
    for (int n = 0; n < kPositions / 8; ++n) {
#pragma unroll
      for (int k = 0; k < kHeadDim / 16; ++k) {
        const int at = (n * 8 + lane.group) * T::kKeyStride + k * 16 + lane.pair;
        const std::uint32_t key[2] = {pair_at(keys, at), pair_at(keys, at + 8)};
        multiply<kType>(scores[n], query[k], key);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int position = first + n * 8 + lane.pair + i % 2;
        const int own = tile.position + first_row + lane.group + i / 2 * 8;
        const bool sees = position <= own && (args.window == 0 || position > own - args.window);
        if (!sees) scores[n][i] = kLowest;
      }
    }
    weigh(scores, sums);
#pragma unroll
    for (int k = 0; k < kPositions / 16; ++k) {
      const auto &low = scores[2 * k], &high = scores[2 * k + 1];
      const std::uint32_t weights[4] = {pack<kType>(low[0], low[1]), pack<kType>(low[2], low[3]),
                                        pack<kType>(high[0], high[1]),
                                        pack<kType>(high[2], high[3])};
#pragma unroll
      for (int n = 0; n < kHeadDim / 8; ++n) {
        const int at = (n * 8 + lane.group) * T::kValueStride + k * 16 + lane.pair;
        const std::uint32_t value[2] = {pair_at(values, at), pair_at(values, at + 8)};
        multiply<kType>(sums.out[n], weights, value);
      }
    }
  }

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = sums.sum[half];
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    const int row = first_row + lane.group + half * 8;
    if (row >= tile.count) continue;
    float* const to = args.out[tile.row + row] + head * kHeadDim + lane.pair;
#pragma unroll
    for (int n = 0; n < kHeadDim / 8; ++n) {
      to[n * 8] = sums.out[n][2 * half] / sum;
      to[n * 8 + 1] = sums.out[n][2 * half + 1] / sum;
    }
  }
}

}  // namespace

void prefill_attention(const PrefillArgs& args, const Queue& queue) {
  const bool wide = args.cache.head_dim == 128;
  const auto kernel =
      args.cache.type == DType::bf16
          ? (wide ? prefill_kernel<DType::bf16, 128> : prefill_kernel<DType::bf16, 64>)
          : (wide ? prefill_kernel<DType::f16, 128> : prefill_kernel<DType::f16, 64>);
  launch(queue, "prefill_attention",
         {dim3(static_cast<unsigned>(args.tile_count), static_cast<unsigned>(args.q_heads)),
          dim3(kThreads)},
         kernel, args);
}

}  // namespace spd::cuda
