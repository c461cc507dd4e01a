// Whether logits are the same bits alone, in any batch, and in steps of any size.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/runtime/virtual_engine.h"

namespace spd::exact {

using Ids = std::vector<std::int32_t>;

/// Prompts of 1 to 40 tokens, across the sizes at which kernels change.
inline std::vector<Ids> prompts_of(std::int64_t vocab, std::size_t count) {
  std::mt19937 random(7);
  std::uniform_int_distribution<std::int32_t> token(0, static_cast<std::int32_t>(vocab - 1));
  std::vector<Ids> prompts(count);
  for (std::size_t i = 0; i < count; ++i) {
    prompts[i].resize(1 + 17 * i % 40);
    for (std::int32_t& id : prompts[i]) id = token(random);
  }
  return prompts;
}

class Runner {
 public:
  Runner(Engine& engine, std::int64_t slots)
      : engine_(engine), cache_(engine.make_cache(slots, 64)) {}

  /// This rank's logits of each sequence's last token: all prompts in steps of `chunk` tokens, of
  /// all prompts together, then a step of one token each.
  std::vector<std::vector<float>> logits(const std::vector<Ids>& prompts, std::int64_t chunk) {
    std::vector<std::size_t> done(prompts.size(), 0);
    for (bool left = true; left;) {
      left = false;
      Ids tokens;
      std::vector<Segment> segments;
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        const std::int64_t count =
            std::min<std::int64_t>(chunk, static_cast<std::int64_t>(prompts[i].size() - done[i]));
        if (count == 0) continue;
        add(i, done[i], {prompts[i].begin() + done[i], prompts[i].begin() + done[i] + count},
            tokens, segments);
        done[i] += count;
        left = true;
      }
      if (left) forward(tokens, segments);
    }
    Ids tokens;
    std::vector<Segment> segments;
    for (std::size_t i = 0; i < prompts.size(); ++i) add(i, done[i], {5}, tokens, segments);
    return rows_of(forward(tokens, segments));
  }

 private:
  static void add(std::size_t slot, std::size_t position, const Ids& ids, Ids& tokens,
                  std::vector<Segment>& segments) {
    segments.push_back({static_cast<std::int64_t>(tokens.size()),
                        static_cast<std::int64_t>(ids.size()), static_cast<std::int64_t>(slot),
                        static_cast<std::int64_t>(position)});
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  }

  ConstActivations forward(const Ids& tokens, const std::vector<Segment>& segments) {
    return engine_.transformer().forward(tokens, segments, engine_.plan().levels, cache_,
                                         engine_.stream());
  }

  std::vector<std::vector<float>> rows_of(ConstActivations hidden) {
    Transformer& transformer = engine_.transformer();
    const std::int64_t width = transformer.vocab_range().count;
    std::vector<float> all(hidden.rows * width);
    transformer.logits(hidden, {all.data(), hidden.rows, width}, engine_.stream());
    std::vector<std::vector<float>> rows;
    for (std::int64_t r = 0; r < hidden.rows; ++r) {
      rows.emplace_back(all.begin() + r * width, all.begin() + (r + 1) * width);
    }
    return rows;
  }

  Engine& engine_;
  KvCache cache_;
};

/// The first so many of `count` prompts together, by steps of several sizes, against each alone.
inline void expect_same_bits(const EngineOptions& options, int ranks, std::size_t count,
                             const std::vector<std::size_t>& batches) {
  on_ranks({ranks, 1}, options, 64, [&](Engine& engine) {
    const auto prompts = prompts_of(engine.config().vocab, count);
    Runner runner(engine, static_cast<std::int64_t>(count));
    std::vector<std::vector<float>> alone;
    for (const Ids& prompt : prompts) alone.push_back(runner.logits({prompt}, 512).front());
    for (const std::size_t batch : batches) {
      for (const std::int64_t chunk : {1, 7, 13, 64}) {
        if (batch == count && chunk == 1) continue;  // slow, and like the others
        const std::vector<Ids> some(prompts.begin(), prompts.begin() + batch);
        const auto together = runner.logits(some, chunk);
        for (std::size_t i = 0; i < batch; ++i) {
          ASSERT_EQ(together[i], alone[i])
              << ranks << " ranks, prompt " << i << " of " << batch << ", steps of " << chunk;
        }
      }
    }
  });
}

}  // namespace spd::exact
