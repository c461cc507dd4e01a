#include "runtime/repair/head_grouping.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "kernels/cpu/dense_algebra.h"
#include "runtime/repair/mlp_refit.h"
#include "runtime/repair/residual_math.h"

namespace spd {
namespace {

using Heads = std::vector<std::vector<std::int32_t>>;  // [ranks][heads of a rank]

std::size_t kv_count(const std::vector<std::int32_t>& heads, std::int64_t queries_per_kv) {
  std::set<std::int64_t> kv;
  for (const std::int32_t head : heads) kv.insert(head / queries_per_kv);
  return kv.size();
}

// Calls visit(heads) with each pair of heads on two ranks exchanged that stays within `most` KV
// heads a rank.
template <class F>
void for_swaps(const Heads& heads, const std::vector<std::size_t>& most,
               std::int64_t queries_per_kv, F visit) {
  for (std::size_t a = 0; a < heads.size(); ++a) {
    for (std::size_t b = a + 1; b < heads.size(); ++b) {
      for (std::size_t i = 0; i < heads[a].size(); ++i) {
        for (std::size_t j = 0; j < heads[b].size(); ++j) {
          Heads swapped = heads;
          std::swap(swapped[a][i], swapped[b][j]);
          std::sort(swapped[a].begin(), swapped[a].end());
          std::sort(swapped[b].begin(), swapped[b].end());
          if (kv_count(swapped[a], queries_per_kv) > most[a]) continue;
          if (kv_count(swapped[b], queries_per_kv) > most[b]) continue;
          visit(swapped);
        }
      }
    }
  }
}

std::vector<std::size_t> kv_limits(const Heads& heads, std::int64_t queries_per_kv, int copies) {
  std::vector<std::size_t> most;
  for (const auto& own : heads) most.push_back(kv_count(own, queries_per_kv) + copies);
  return most;
}

// Gathers all ranks' heads' outputs and adds up the products of their contributions.
class SimilarityObserver : public SyncObserver {
 public:
  SimilarityObserver(Engine& engine, std::int64_t block, const HostMatrix& o)
      : engine_(engine),
        shards_(engine.plan().partition.blocks.at(block)),
        o_(o),
        products(engine.config().q_heads * engine.config().q_heads, 0.0) {}

  void before_sync(const SyncPassage& passage, Stream& stream) override {
    const ModelConfig& config = engine_.config();
    const RankComms& comms = engine_.context().comms;
    const std::int64_t tokens = passage.inner.rows, hd = config.head_dim, heads = config.q_heads;
    std::size_t widest = 0;
    for (const BlockShard& shard : shards_) widest = std::max(widest, shard.q_heads.size());
    const auto mine = to_host(engine_.operators().device(), passage.inner, stream);
    std::vector<float> padded(tokens * widest * hd);
    std::copy(mine.begin(), mine.end(), padded.begin());
    std::vector<float> all(padded.size() * comms.ranks());
    comms.world->all_gather(padded.data(), all.data(), padded.size() * sizeof(float), stream,
                            {"grouping heads"});
    // One head's contribution to the stream after another, [tokens * hidden] each, centred.
    DenseMatrix contributions(heads, tokens * config.hidden);
    for (int rank = 0; rank < comms.ranks(); ++rank) {
      const auto& own = shards_[rank].q_heads;
      const auto width = static_cast<std::int64_t>(own.size()) * hd;
      for (std::size_t local = 0; local < own.size(); ++local) {
        contribution(all.data() + rank * padded.size() + local * hd, width, tokens, own[local],
                     contributions.row(own[local]));
      }
    }
    const DenseMatrix gram = product(contributions, contributions, false, true);
    for (std::size_t i = 0; i < products.size(); ++i) products[i] += gram.values[i];
  }

 private:
  void contribution(const float* inner, std::int64_t stride, std::int64_t tokens, std::int32_t head,
                    double* out) const {
    const std::int64_t hd = engine_.config().head_dim, hidden = engine_.config().hidden;
    DenseMatrix x(tokens, hd), o(hidden, hd);
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::copy_n(inner + t * stride, hd, x.row(t));
    }
    for (std::int64_t i = 0; i < hidden; ++i) std::copy_n(o_.row(i) + head * hd, hd, o.row(i));
    std::vector<double> mean(hd, 0.0);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t i = 0; i < hd; ++i) mean[i] += x.at(t, i) / static_cast<double>(tokens);
    }
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t i = 0; i < hd; ++i) x.at(t, i) -= mean[i];
    }
    const DenseMatrix y = product(x, o, false, true);
    std::copy(y.values.begin(), y.values.end(), out);
  }

  Engine& engine_;
  const std::vector<BlockShard>& shards_;
  const HostMatrix& o_;

 public:
  std::vector<double> products;  // [heads, heads]
};

double within_ranks(const std::vector<std::vector<double>>& similarity, const Heads& heads) {
  double sum = 0.0;
  for (const auto& own : heads) {
    for (const std::int32_t a : own) {
      for (const std::int32_t b : own) {
        if (a < b) sum += similarity[a][b];
      }
    }
  }
  return sum;
}

}  // namespace

std::vector<std::vector<double>> head_similarity(Engine& engine, Calibration& calibration,
                                                 const SyncLevels& levels, std::int64_t windows) {
  const std::int64_t block = calibration.block(), heads = engine.config().q_heads;
  Stream& stream = engine.stream();
  BlockShard whole{std::vector<std::int32_t>(heads), {0}};
  std::iota(whole.q_heads.begin(), whole.q_heads.end(), 0);
  HostMatrix o;
  agree(engine.context().comms, "loading a block", [&] {
    const BlockWeights all =
        load_block(engine.config(), block, whole, engine.source(), engine.operators());
    o = read_weight(all.o, engine.operators().device(), stream);
  });
  SimilarityObserver observer(engine, block, o);
  engine.transformer().set_observer(&observer);
  calibration.for_fit(windows, [&](std::int64_t) {
    engine.transformer().run_sub_layer(block, SyncPoint::attn, levels, calibration.cache(), stream);
  });
  engine.transformer().set_observer(nullptr);
  std::vector<std::vector<double>> similarity(heads, std::vector<double>(heads));
  for (std::int64_t i = 0; i < heads; ++i) {
    for (std::int64_t j = 0; j < heads; ++j) {
      similarity[i][j] =
          observer.products[i * heads + j] /
          (std::sqrt(observer.products[i * heads + i] * observer.products[j * heads + j]) + 1e-30);
    }
  }
  return similarity;
}

Heads scatter_heads(const std::vector<std::vector<double>>& similarity, Heads heads,
                    std::int64_t queries_per_kv, int kv_copies) {
  const auto most = kv_limits(heads, queries_per_kv, kv_copies);
  double lowest = within_ranks(similarity, heads);
  for (bool better = true; better;) {
    better = false;
    Heads best;
    for_swaps(heads, most, queries_per_kv, [&](const Heads& swapped) {
      const double sum = within_ranks(similarity, swapped);
      if (sum >= lowest - 1e-12) return;
      lowest = sum;
      best = swapped;
      better = true;
    });
    if (better) heads = best;
  }
  return heads;
}

Grouping group_heads(Engine& engine, Calibration& calibration, const SyncLevels& levels,
                     const std::vector<std::vector<float>>& targets,
                     const GroupingOptions& options) {
  const std::int64_t block = calibration.block(), per_kv = engine.config().queries_per_kv();
  const std::vector<BlockShard> original = engine.plan().partition.blocks.at(block);
  SyncLevels summed = levels;
  summed.at(block, SyncPoint::mlp) = SyncLevel::full;

  const auto install = [&](const Heads& heads) {
    std::vector<BlockShard> shards = original;
    for (std::size_t rank = 0; rank < shards.size(); ++rank) shards[rank].q_heads = heads[rank];
    engine.repartition(block, shards);
    calibration.renew_cache();
  };
  const auto measure = [&](const Heads& heads) {
    install(heads);
    double sum = 0.0;
    calibration.for_fit(options.windows, [&](std::int64_t window) {
      const auto out = to_host(
          engine.operators().device(),
          engine.transformer().run(block, block + 1, summed, calibration.cache(), engine.stream()),
          engine.stream());
      sum += relative_error(out, targets.at(window), engine.config().hidden);
    });
    return sum / static_cast<double>(options.windows);
  };

  Heads heads;
  for (const BlockShard& shard : original) heads.push_back(shard.q_heads);
  const auto most = kv_limits(heads, per_kv, options.kv_copies);
  const auto similarity = head_similarity(engine, calibration, levels, options.windows);
  Grouping result;
  result.before = result.after = measure(heads);
  Heads best = heads;
  const auto take = [&](const Heads& candidate) {
    const double error = measure(candidate);
    if (error >= result.after) return;
    result.after = error;
    best = candidate;
    result.changed = true;
  };
  const Heads scattered = scatter_heads(similarity, heads, per_kv, options.kv_copies);
  if (scattered != heads) take(scattered);
  for (int round = 0; round < options.rounds; ++round) {
    const double before = result.after;
    for_swaps(Heads(best), most, per_kv, take);  // a copy: take() changes best
    if (result.after == before) break;
  }
  install(best);
  return result;
}

}  // namespace spd
