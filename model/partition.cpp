#include "model/partition.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kernels/device/error.h"
#include "model/json_object.h"

namespace spd {

std::vector<std::int32_t> BlockShard::kv_heads(const ModelConfig& config) const {
  std::vector<std::int32_t> heads;
  for (const std::int32_t q : q_heads) {
    heads.push_back(static_cast<std::int32_t>(q / config.queries_per_kv()));
  }
  std::sort(heads.begin(), heads.end());
  heads.erase(std::unique(heads.begin(), heads.end()), heads.end());
  return heads;
}

std::vector<std::int32_t> BlockShard::kv_head_of(const ModelConfig& config) const {
  const auto kv = kv_heads(config);
  std::vector<std::int32_t> index;
  for (const std::int32_t q : q_heads) {
    const auto head = static_cast<std::int32_t>(q / config.queries_per_kv());
    index.push_back(
        static_cast<std::int32_t>(std::lower_bound(kv.begin(), kv.end(), head) - kv.begin()));
  }
  return index;
}

VocabRange even_share(std::int64_t count, int parts, int part) {
  const std::int64_t base = count / parts;
  const std::int64_t extra = count % parts;
  return {part * base + std::min<std::int64_t>(part, extra), base + (part < extra ? 1 : 0)};
}

namespace {

std::vector<std::int32_t> numbers(VocabRange range) {
  std::vector<std::int32_t> list(range.count);
  std::iota(list.begin(), list.end(), static_cast<std::int32_t>(range.first));
  return list;
}

// Throws unless the ranks' lists together name each of 0..count-1 exactly once.
void check_cover(const std::vector<BlockShard>& shards,
                 std::vector<std::int32_t> BlockShard::*member, std::int64_t count,
                 std::size_t block, const char* what) {
  std::vector<int> seen(count, 0);
  for (std::size_t rank = 0; rank < shards.size(); ++rank) {
    const auto& list = shards[rank].*member;
    if (list.empty()) {
      throw Error(ErrorCode::input,
                  fmt::format("partition of block {}: rank {} has no {}", block, rank, what));
    }
    for (const std::int32_t item : list) {
      if (item < 0 || item >= count) {
        throw Error(ErrorCode::input, fmt::format("partition of block {}: {} {} is not in 0..{}",
                                                  block, what, item, count - 1));
      }
      if (++seen[item] > 1) {
        throw Error(ErrorCode::input,
                    fmt::format("partition of block {}: {} {} is on more than one rank", block,
                                what, item));
      }
    }
  }
  const auto missing = std::find(seen.begin(), seen.end(), 0);
  if (missing != seen.end()) {
    throw Error(ErrorCode::input, fmt::format("partition of block {}: {} {} is on no rank", block,
                                              what, missing - seen.begin()));
  }
}

}  // namespace

Partition Partition::contiguous(const ModelConfig& config, int ranks) {
  const std::int64_t most = std::min({config.q_heads, config.mlp, config.vocab});
  if (ranks < 1 || ranks > most) {
    throw Error(ErrorCode::usage,
                fmt::format("cannot split a model with {} query heads over {} ranks",
                            config.q_heads, ranks),
                fmt::format("use 1 to {} ranks", most));
  }
  Partition partition;
  std::vector<BlockShard> shards(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    shards[rank] = {numbers(even_share(config.q_heads, ranks, rank)),
                    numbers(even_share(config.mlp, ranks, rank))};
    partition.vocab.push_back(even_share(config.vocab, ranks, rank));
  }
  partition.blocks.assign(config.blocks, shards);
  return partition;
}

void Partition::validate(const ModelConfig& config) const {
  if (static_cast<std::int64_t>(blocks.size()) != config.blocks) {
    throw Error(ErrorCode::input, fmt::format("partition has {} blocks, the model has {}",
                                              blocks.size(), config.blocks));
  }
  std::int64_t next = 0;
  for (const VocabRange& range : vocab) {
    if (range.first != next || range.count < 1) {
      throw Error(ErrorCode::input, "partition: vocabulary ranges are not consecutive");
    }
    next += range.count;
  }
  if (next != config.vocab) {
    throw Error(ErrorCode::input,
                fmt::format("partition covers {} of {} vocabulary rows", next, config.vocab));
  }
  for (std::size_t block = 0; block < blocks.size(); ++block) {
    if (blocks[block].size() != vocab.size()) {
      throw Error(ErrorCode::input, fmt::format("partition of block {} has {} ranks, not {}", block,
                                                blocks[block].size(), vocab.size()));
    }
    check_cover(blocks[block], &BlockShard::q_heads, config.q_heads, block, "query head");
    check_cover(blocks[block], &BlockShard::neurons, config.mlp, block, "neuron");
  }
}

nlohmann::json BlockShard::to_json() const { return {{"q_heads", q_heads}, {"neurons", neurons}}; }

BlockShard BlockShard::from_json(const JsonObject& json) {
  json.check_keys({"q_heads", "neurons"});
  return {json.integers("q_heads", 0), json.integers("neurons", 0)};
}

nlohmann::json Partition::to_json() const {
  nlohmann::json json = {{"kind", "explicit"}, {"blocks", nlohmann::json::array()}};
  for (const auto& shards : blocks) {
    nlohmann::json entry = nlohmann::json::array();
    for (const BlockShard& shard : shards) entry.push_back(shard.to_json());
    json["blocks"].push_back(std::move(entry));
  }
  return json;
}

Partition Partition::from_json(const JsonObject& json, const ModelConfig& config, int ranks) {
  Partition partition;
  for (const auto& entry : json.object_lists("blocks")) {
    if (static_cast<int>(entry.size()) != ranks) {
      json.fail(fmt::format("blocks[{}]", partition.blocks.size()),
                fmt::format("has {} ranks, the plan {}", entry.size(), ranks));
    }
    auto& shards = partition.blocks.emplace_back();
    for (const JsonObject& shard : entry) shards.push_back(BlockShard::from_json(shard));
  }
  for (int rank = 0; rank < ranks; ++rank) {
    partition.vocab.push_back(even_share(config.vocab, ranks, rank));
  }
  partition.validate(config);
  return partition;
}

bool Partition::operator==(const Partition& other) const {
  const auto same_shard = [](const BlockShard& a, const BlockShard& b) {
    return a.q_heads == b.q_heads && a.neurons == b.neurons;
  };
  const auto same_block = [&](const auto& a, const auto& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_shard);
  };
  return std::equal(blocks.begin(), blocks.end(), other.blocks.begin(), other.blocks.end(),
                    same_block) &&
         vocab.size() == other.vocab.size();
}

}  // namespace spd
