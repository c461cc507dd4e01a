#include "comm/algorithm_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/link_model.h"
#include "kernels/device/error.h"

namespace spd {
namespace {

TEST(AlgorithmTable, IsReadAsItIsWritten) {
  for (const char* text :
       {"ring", "one_shot,scatter_gather:524288", "recursive_doubling,ring:1,one_shot:7"}) {
    EXPECT_EQ(to_string(parse_algorithm_table(text)), text);
  }
  const AlgorithmTable table = parse_algorithm_table("one_shot:0,ring:100");
  EXPECT_EQ(choose(table, 99), AllReduceAlgorithm::one_shot);
  EXPECT_EQ(choose(table, 100), AllReduceAlgorithm::ring);
}

TEST(AlgorithmTable, RefusesWhatMakesNoSense) {
  for (const char* text :
       {"", "star", "one_shot,", "one_shot,ring", "one_shot:8", "one_shot,ring:x",
        "one_shot,ring:8x", "one_shot,ring:-8", "one_shot,ring:9,one_shot:9"}) {
    EXPECT_THROW(parse_algorithm_table(text), Error) << text;
  }
}

LinkCurve curve(AllReduceAlgorithm algorithm, const std::vector<double>& us) {
  LinkCurve curve{LinkGroup::cross, WireFormat::f32, std::string(name(algorithm)), "ucx", {}, {}};
  std::size_t bytes = 256;
  for (const double time : us) {
    curve.samples.push_back({bytes, time, time, time});
    bytes *= 4;
  }
  curve.segments = fit_segments(curve.samples);
  return curve;
}

TEST(AlgorithmTable, TakesWhatWasFastest) {
  const LinkModel measured({2, 2}, {curve(AllReduceAlgorithm::one_shot, {10, 10, 40, 160}),
                                    curve(AllReduceAlgorithm::ring, {20, 19, 39, 100})});
  // At 4 KiB the ring gains too little; at 16 KiB it does not.
  EXPECT_EQ(to_string(fastest_algorithms(measured)), "one_shot,ring:16384");
  EXPECT_THROW(fastest_algorithms(LinkModel({2, 2}, {})), Error);
}

TEST(AlgorithmTable, TellsWhereSumsDependOnTheSize) {
  const auto varies = [](const char* table, int ranks) {
    return order_varies_with_size(parse_algorithm_table(table), ranks);
  };
  EXPECT_FALSE(varies("one_shot,scatter_gather:16384", 5));
  EXPECT_FALSE(varies("recursive_doubling", 5));
  EXPECT_TRUE(varies("recursive_doubling,scatter_gather:16384", 5));
  EXPECT_TRUE(varies("ring", 3));
  EXPECT_FALSE(varies("ring", 2));
}

}  // namespace
}  // namespace spd
