#include "tests/cuda_emulation/order.h"

#include <bit>
#include <numeric>
#include <random>

#include "tests/cuda_emulation/control.h"

namespace cuda_emulation {

namespace {

std::minstd_rand& generator() {
  static std::minstd_rand numbers(1);
  return numbers;
}

}  // namespace

void seed_order(unsigned seed) { generator().seed(seed + 1); }

std::uint32_t random_below(std::uint32_t count) {
  return static_cast<std::uint32_t>(generator()() >> 4) % count;
}

int pick_bit(std::uint32_t bits) {
  switch (options().order) {
    case Order::up:
      return std::countr_zero(bits);
    case Order::down:
      return 31 - std::countl_zero(bits);
    case Order::random:
      break;
  }
  const int turn = static_cast<int>(random_below(32));
  return (std::countr_zero(std::rotr(bits, turn)) + turn) % 32;
}

std::uint32_t pick_block(std::uint32_t started, std::uint32_t total) {
  switch (options().order) {
    case Order::up:
      return started;
    case Order::down:
      return total - 1 - started;
    case Order::random:
      break;
  }
  // A step without a common divisor visits every block once.
  std::uint64_t step = total / 2 + options().seed % 7 + 1;
  while (std::gcd(step, std::uint64_t{total}) != 1) ++step;
  return static_cast<std::uint32_t>((started * step + options().seed) % total);
}

}  // namespace cuda_emulation
