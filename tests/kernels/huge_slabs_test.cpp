#include "kernels/device/huge_slabs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace spd {
namespace {

bool all_are(const std::byte* data, std::size_t bytes, int value) {
  return std::all_of(data, data + bytes, [&](std::byte b) { return b == std::byte(value); });
}

// Pieces of random sizes come and go on several threads: each is aligned, zero at first, and keeps
// what was written to it.
TEST(HugeSlabs, PiecesAreZeroAndDoNotOverlap) {
  HugeSlabs slabs;
  const auto work = [&](int seed) {
    struct Piece {
      std::byte* data;
      std::size_t bytes;
    };
    std::mt19937 random(seed);
    std::vector<Piece> pieces;
    for (int i = 0; i < 300; ++i) {
      if (pieces.size() > 12 || (!pieces.empty() && random() % 3 == 0)) {
        const std::size_t which = random() % pieces.size();
        EXPECT_TRUE(all_are(pieces[which].data, pieces[which].bytes, seed));
        slabs.release(pieces[which].data);
        pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(which));
        continue;
      }
      const std::size_t bytes = 1 + random() % (2u << 20);
      auto* data = static_cast<std::byte*>(slabs.allocate(bytes));
      ASSERT_NE(data, nullptr);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data) % 64, 0U);
      EXPECT_TRUE(all_are(data, bytes, 0));
      std::memset(data, seed, bytes);
      pieces.push_back({data, bytes});
    }
    for (const Piece& piece : pieces) {
      EXPECT_TRUE(all_are(piece.data, piece.bytes, seed));
      slabs.release(piece.data);
    }
  };
  std::vector<std::thread> threads;
  for (int seed = 1; seed <= 3; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();
}

TEST(HugeSlabs, TakesAWholeSlab) {
  HugeSlabs slabs;
  auto* data = static_cast<std::byte*>(slabs.allocate(HugeSlabs::kSlabBytes));
  auto* other = static_cast<std::byte*>(slabs.allocate(64));
  ASSERT_NE(data, nullptr);
  ASSERT_NE(other, nullptr);
  data[HugeSlabs::kSlabBytes - 1] = std::byte(1);
  EXPECT_EQ(other[0], std::byte(0));
  slabs.release(data);
  slabs.release(other);
}

}  // namespace
}  // namespace spd
