#include "runtime/inference/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "kernels/device/cpu_device.h"
#include "kernels/device/error.h"
#include "runtime/job/launch.h"

namespace spd {
namespace {

using Row = std::vector<float>;

// Samples the given rows on `ranks` ranks that share the vocabulary; every rank must get the same.
std::vector<std::int32_t> sample(const SamplingOptions& options, const std::vector<Row>& rows,
                                 const std::vector<SampleKey>& keys, int ranks = 1) {
  const auto vocab = static_cast<std::int64_t>(rows.front().size());
  const auto count = static_cast<std::int64_t>(rows.size());
  std::vector<std::vector<std::int32_t>> results(ranks);
  launch_virtual({ranks, 1}, [&](RankContext& context) {
    CpuDevice device;
    const auto stream = device.make_stream();
    const auto operators = make_cpu_operators(device, {});
    const VocabRange range = even_share(vocab, ranks, context.rank());
    const Buffer buffer(device, count * range.count * sizeof(float));
    for (std::int64_t i = 0; i < count; ++i) {
      std::copy_n(rows[i].data() + range.first, range.count, buffer.as<float>() + i * range.count);
    }
    Sampler sampler(options, *operators, context.comms, range, vocab);
    results[context.rank()] =
        sampler.sample({buffer.as<float>(), count, range.count}, keys, *stream);
  });
  for (const auto& result : results) EXPECT_EQ(result, results.front());
  return results.front();
}

std::vector<SampleKey> requests(std::size_t count) {
  std::vector<SampleKey> keys(count);
  for (std::size_t i = 0; i < count; ++i) keys[i] = {i, 0};
  return keys;
}

Row random_row(std::size_t vocab, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  Row row(vocab);
  for (float& logit : row) logit = normal(random);
  return row;
}

// The distribution that the options ask for, restated from transformers' definition: logits by
// temperature, all but the k likeliest out, then the smallest likeliest set that reaches p.
std::vector<double> wanted(const SamplingOptions& options, const Row& row) {
  std::vector<std::size_t> order(row.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
  if (options.top_k > 0 && static_cast<std::size_t>(options.top_k) < order.size()) {
    order.resize(options.top_k);
  }
  std::vector<double> weights;
  double total = 0.0;
  for (const std::size_t id : order) {
    weights.push_back(std::exp((row[id] - row[order.front()]) / options.temperature));
    total += weights.back();
  }
  std::vector<double> probability(row.size(), 0.0);
  double kept = 0.0;
  for (std::size_t i = 0; i < order.size() && kept < options.top_p * total; ++i) {
    probability[order[i]] = weights[i];
    kept += weights[i];
  }
  for (double& p : probability) p /= kept;
  return probability;
}

TEST(Sampler, GreedyTakesTheLikeliestAndTheFirstOfEquals) {
  const Row tie = {0.0f, 2.0f, -1.0f, 2.0f, 1.0f, 2.0f, 0.5f};
  const Row last = {0.0f, 2.0f, -1.0f, 2.0f, 1.0f, 2.0f, 2.5f};
  for (const int ranks : {1, 2, 3, 7}) {
    EXPECT_THAT(sample({}, {tie, last}, requests(2), ranks), testing::ElementsAre(1, 6)) << ranks;
  }
}

struct Draw {
  const char* name;
  double temperature;
  std::int64_t top_k;
  double top_p;
};

void PrintTo(const Draw& draw, std::ostream* stream) { *stream << draw.name; }

class SamplerDraws : public testing::TestWithParam<Draw> {
 protected:
  SamplingOptions options_ = {GetParam().temperature, GetParam().top_k, GetParam().top_p, 7};
};

TEST_P(SamplerDraws, FollowsTheDistribution) {
  constexpr std::size_t kDraws = 20'000;
  const Row row = random_row(23, 3);
  const std::vector<double> probability = wanted(options_, row);
  std::vector<std::size_t> counts(row.size(), 0);
  for (const std::int32_t id :
       sample(options_, std::vector<Row>(kDraws, row), requests(kDraws), 2)) {
    ++counts[id];
  }
  for (std::size_t id = 0; id < row.size(); ++id) {
    // Five standard deviations of a binomial.
    const double expected = probability[id] * kDraws;
    EXPECT_NEAR(static_cast<double>(counts[id]), expected,
                5.0 * std::sqrt(expected * (1.0 - probability[id])) + (expected > 0.0 ? 1.0 : 0.0))
        << "token " << id;
  }
}

TEST_P(SamplerDraws, DrawsTheSameOnAnyNumberOfRanks) {
  std::vector<Row> rows;
  for (unsigned seed = 0; seed < 64; ++seed) rows.push_back(random_row(331, seed));
  const auto keys = requests(rows.size());
  const auto alone = sample(options_, rows, keys);
  for (const int ranks : {2, 3, 9}) EXPECT_EQ(sample(options_, rows, keys, ranks), alone) << ranks;
}

TEST_P(SamplerDraws, DrawsTheSameInAnyBatch) {
  std::vector<Row> rows;
  for (unsigned seed = 0; seed < 8; ++seed) rows.push_back(random_row(97, seed));
  const auto keys = requests(rows.size());
  const auto together = sample(options_, rows, keys);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_THAT(sample(options_, {rows[i]}, {keys[i]}), testing::ElementsAre(together[i])) << i;
  }
}

TEST_P(SamplerDraws, SeedRequestAndStepMatter) {
  const std::vector<Row> rows(200, Row(50, 1.0f));  // all alike: only the noise decides
  auto keys = requests(rows.size());
  const auto first = sample(options_, rows, keys);
  EXPECT_EQ(sample(options_, rows, keys), first);
  SamplingOptions other = options_;
  other.seed = 8;
  EXPECT_NE(sample(other, rows, keys), first);
  for (SampleKey& key : keys) key.step = 1;
  EXPECT_NE(sample(options_, rows, keys), first);
  EXPECT_GT(std::ranges::count_if(first, [&](std::int32_t id) { return id != first[0]; }), 100);
}

INSTANTIATE_TEST_SUITE_P(Options, SamplerDraws,
                         testing::Values(Draw{"Plain", 1.0, 0, 1.0}, Draw{"Cool", 0.5, 0, 1.0},
                                         Draw{"Hot", 2.0, 0, 1.0}, Draw{"TopK", 0.8, 5, 1.0},
                                         Draw{"TopP", 1.5, 0, 0.8}, Draw{"TopKAndP", 1.5, 9, 0.7},
                                         Draw{"KBeyondTheVocabulary", 1.0, 1000, 1.0}),
                         [](const testing::TestParamInfo<Draw>& param) {
                           return param.param.name;
                         });

// The set that reaches p is larger than the first candidates asked of the ranks.
TEST(Sampler, TopPGathersAsManyCandidatesAsItNeeds) {
  SamplingOptions options{1.0, 0, 0.9, 1};
  constexpr std::size_t kVocab = 1000, kDraws = 500;
  const std::vector<Row> flat(kDraws, Row(kVocab, 0.0f));
  const auto ids = sample(options, flat, requests(kDraws), 3);
  // Equal logits: the first 900 are the set.
  EXPECT_LT(*std::ranges::max_element(ids), 900);
  EXPECT_GT(*std::ranges::max_element(ids), 700);
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const SamplingOptions bad[] = {{-0.1, 0, 1.0, 0},
                                 {1.0, -1, 1.0, 0},
                                 {1.0, 0, 0.0, 0},
                                 {1.0, 0, 1.1, 0},
                                 {std::nan(""), 0, 1.0, 0}};
  for (const SamplingOptions& options : bad) EXPECT_THROW(options.validate(), Error);
  EXPECT_NO_THROW(SamplingOptions{}.validate());
}

}  // namespace
}  // namespace spd
