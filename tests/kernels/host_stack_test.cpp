#include "kernels/device/host_stack.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <functional>

namespace spd {
namespace {

void* run(void* body) {
  (*static_cast<const std::function<void()>*>(body))();
  return nullptr;
}

/// Runs `body` in a thread that has so much stack.
void with_stack(std::size_t bytes, const std::function<void()>& body) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, bytes), 0);
  pthread_t thread{};
  auto copy = body;
  ASSERT_EQ(pthread_create(&thread, &attributes, run, &copy), 0);
  pthread_attr_destroy(&attributes);
  pthread_join(thread, nullptr);
}

// Not a loop in the end, and of a frame of its own.
[[gnu::noinline]] std::size_t left_below(int calls) {
  volatile char room[1024] = {};
  const std::size_t left = calls == 0 ? host_stack().left : left_below(calls - 1);
  return left + static_cast<std::size_t>(room[0]);
}

void expect_it_to_shrink(std::size_t least_size, std::size_t most_size) {
  const HostStack before = host_stack();
  EXPECT_GE(before.size, least_size);
  EXPECT_LE(before.size, most_size);
  EXPECT_LE(before.left, before.size);
  EXPECT_GT(before.left, before.size / 2);
  EXPECT_LE(left_below(50), before.left - std::size_t{50} * 64);
  EXPECT_EQ(host_stack().left, before.left) << "calls that are over take nothing";
}

TEST(HostStack, IsThatOfTheThread) {
  expect_it_to_shrink(std::size_t{256} << 10, SIZE_MAX);
  for (const std::size_t size : {std::size_t{512} << 10, std::size_t{4} << 20}) {
    with_stack(size, [&] { expect_it_to_shrink(size - (std::size_t{64} << 10), size); });
  }
}

}  // namespace
}  // namespace spd
