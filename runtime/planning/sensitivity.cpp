#include "runtime/planning/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/device/error.h"
#include "runtime/inference/logit_scorer.h"

namespace spd {
namespace {

constexpr std::int64_t kScoredRows = 128;  // rows of logits held at a time: a vocabulary wide each
constexpr std::int64_t kHeadUnits = 8;     // the vocabulary projection in blocks, for the time left

// One batch of windows, run from any block on.
class Batch {
 public:
  Batch(Engine& engine, const std::vector<std::int32_t>& text, const WindowOptions& options,
        std::int64_t first_window, std::int64_t windows)
      : engine_(engine),
        transformer_(engine.transformer()),
        stream_(engine.stream()),
        scorer_(engine, kScoredRows),
        window_(options.window),
        cache_(engine.make_cache(windows, options.window)) {
    for (std::int64_t i = 0; i < windows; ++i) {
      const auto begin = text.begin() + (first_window + i) * options.stride;
      tokens_.insert(tokens_.end(), begin, begin + window_);
      segments_.push_back({i * window_, window_, i, 0});
    }
  }

  // Every sync full, keeping the blocks' inputs. Returns the NLL of every scored token.
  std::vector<double> run_base() {
    const std::int64_t blocks = engine_.config().blocks;
    const SyncLevels full = SyncLevels::all_full(blocks);
    transformer_.begin(tokens_, segments_, stream_);
    inputs_.clear();
    ConstActivations out;
    for (std::int64_t block = 0; block < blocks; ++block) {
      inputs_.push_back(transformer_.save(stream_));
      out = transformer_.run(block, block + 1, full, cache_, stream_);
    }
    return score(out);
  }

  // From block `first` on, with what the blocks before it did at full.
  std::vector<double> run_from(std::int64_t first, const SyncLevels& levels) {
    transformer_.begin(inputs_.at(first), segments_, stream_);
    return score(transformer_.run(first, engine_.config().blocks, levels, cache_, stream_));
  }

  std::int64_t windows() const { return static_cast<std::int64_t>(segments_.size()); }
  std::int64_t scored_per_window() const { return window_ - 1; }

 private:
  // The NLL of every token of a window but its first, window by window.
  std::vector<double> score(ConstActivations hidden) {
    std::vector<double> result;
    std::vector<RowTarget> targets;
    for (const Segment& segment : segments_) {
      for (std::int64_t first = 0; first < scored_per_window(); first += kScoredRows) {
        const std::int64_t count = std::min(kScoredRows, scored_per_window() - first);
        targets.clear();
        for (std::int64_t i = 0; i < count; ++i) {
          targets.push_back({i, tokens_[segment.row + first + i + 1]});
        }
        const auto scores = scorer_.score(hidden.row_range(segment.row + first, count), targets);
        for (const double log_prob : scores.log_probs) result.push_back(-log_prob);
      }
    }
    return result;
  }

  Engine& engine_;
  Transformer& transformer_;
  Stream& stream_;
  LogitScorer scorer_;
  std::int64_t window_;
  KvCache cache_;
  std::vector<std::int32_t> tokens_;
  std::vector<Segment> segments_;
  std::vector<ResidualState> inputs_;  // [blocks]
};

SyncLevels levels_of(const SensitivityEntry& entry, std::int64_t blocks) {
  SyncLevels levels = SyncLevels::all_full(blocks);
  const std::int64_t last = entry.form == SensitivityForm::single ? entry.block : blocks - 1;
  for (std::int64_t block = entry.block; block <= last; ++block) {
    levels.wire_at(block, entry.point) = entry.wire;
    if (!is_output(block, entry.point, blocks)) levels.at(block, entry.point) = entry.level;
  }
  return levels;
}

// Sums over each window of the rise against `base`, and of the squares of that against `before`.
std::vector<WindowRise> rises(const std::vector<double>& nll, const std::vector<double>& base,
                              const std::vector<double>& before, const Batch& batch) {
  std::vector<WindowRise> result(batch.windows());
  for (std::size_t i = 0; i < nll.size(); ++i) {
    WindowRise& rise = result[i / batch.scored_per_window()];
    const double own = nll[i] - before[i];
    rise.total += nll[i] - base[i];
    rise.squares += own * own;
  }
  return result;
}

// Puts the NLLs with every sync full on the table, window by window.
void record_base(const std::vector<double>& nll, std::int64_t first, std::int64_t end,
                 std::int64_t scored_per_window, SensitivityTable& table) {
  table.tokens.resize(std::max<std::size_t>(table.tokens.size(), end));
  table.base_nll_sum.resize(table.tokens.size());
  for (std::int64_t window = first; window < end; ++window) {
    const auto begin = nll.begin() + (window - first) * scored_per_window;
    const double sum = std::accumulate(begin, begin + scored_per_window, 0.0);
    if (!std::isfinite(sum)) {
      throw Error(ErrorCode::input,
                  fmt::format("the model's loss on window {} is not a number", window),
                  "check the checkpoint: a weight is NaN or infinite");
    }
    table.tokens[window] = scored_per_window;
    table.base_nll_sum[window] = sum;
  }
}

using Entries = std::vector<SensitivityEntry>;

// Whether two entries are of one pass over the blocks.
bool same_pass(const SensitivityEntry& a, const SensitivityEntry& b) {
  return a.form == b.form && a.point == b.point && a.level == b.level && a.wire == b.wire;
}

bool open(const SensitivityEntry& entry, std::int64_t end) {
  return static_cast<std::int64_t>(entry.windows.size()) < end;
}

// Makes the windows [first, end) of an entry wholly done or wholly open. An interrupted backward
// pass begins anew: the losses that its next block would be compared with are not on file.
void reopen_partly_done(Entries& entries, std::int64_t first, std::int64_t end) {
  const auto same_or_backward = [](const SensitivityEntry& a, const SensitivityEntry& b) {
    return &a == &b || (a.form == SensitivityForm::backward && same_pass(a, b));
  };
  for (const SensitivityEntry& lacking : entries) {
    if (!open(lacking, end)) continue;
    for (SensitivityEntry& entry : entries) {
      if (same_or_backward(entry, lacking) && !open(entry, first)) entry.windows.resize(first);
    }
  }
}

}  // namespace

std::vector<SensitivityEntry> sensitivity_items(const SensitivityOptions& options,
                                                std::int64_t blocks, const Topology& topology) {
  const auto per_node = topology.ranks_per_node();
  const bool node_is_full = topology.nodes() == 1;
  const bool node_is_drop =
      std::all_of(per_node.begin(), per_node.end(), [](int ranks) { return ranks == 1; });
  struct Change {
    SyncLevel level;
    WireFormat wire;
  };
  std::vector<Change> changes;
  for (const SyncLevel level : options.levels) {
    const bool other = level == SyncLevel::node && (node_is_full || node_is_drop);
    if (level != SyncLevel::full && !other) changes.push_back({level, WireFormat::f32});
  }
  for (const WireFormat wire : options.wires) {
    if (wire != WireFormat::f32) changes.push_back({SyncLevel::full, wire});
  }
  std::vector<SensitivityEntry> items;
  for (const SensitivityForm form : options.forms) {
    for (const Change& change : changes) {
      for (const SyncPoint point : options.points) {
        for (std::int64_t block = blocks - 1; block >= 0; --block) {
          if (change.level != SyncLevel::full && is_output(block, point, blocks)) continue;
          SensitivityEntry item;
          item.form = form;
          item.point = point;
          item.block = block;
          item.level = change.level;
          item.wire = change.wire;
          items.push_back(item);
        }
      }
    }
  }
  return items;
}

void note_repairs(Engine& engine, std::vector<SensitivityEntry>& entries) {
  const RankComms& comms = engine.context().comms;
  for (SensitivityEntry& entry : entries) {
    const BlockWeights& block = engine.transformer().shard().blocks.at(entry.block);
    const auto& prediction = block.prediction[entry.point];
    const bool used = prediction && prediction->level == entry.level;
    const double mine =
        used ? static_cast<double>(prediction->elements()) / static_cast<double>(block.elements())
             : 0.0;
    std::vector<double> all(comms.ranks());
    comms.world->all_gather(&mine, all.data(), sizeof(mine), engine.stream(), {"repairs"});
    entry.repaired = used;
    entry.repair_share = *std::max_element(all.begin(), all.end());
  }
}

std::int64_t whole_windows(std::int64_t text_tokens, const WindowOptions& windows) {
  if (text_tokens < windows.window) {
    throw Error(ErrorCode::input,
                fmt::format("the text has {} tokens, less than one window of {}", text_tokens,
                            windows.window),
                "give a longer text, or a smaller --window");
  }
  const std::int64_t there = (text_tokens - windows.window) / windows.stride + 1;
  return windows.limit > 0 ? std::min(there, windows.limit) : there;
}

bool measure_sensitivity(Engine& engine, const std::vector<std::int32_t>& text,
                         const SensitivityOptions& options, SensitivityTable& table,
                         const std::function<bool(std::int64_t, std::int64_t)>& after_item) {
  const std::int64_t blocks = engine.config().blocks;
  const std::int64_t total = whole_windows(static_cast<std::int64_t>(text.size()), options.windows);
  const std::int64_t step = engine.transformer().options().max_tokens / options.windows.window;
  if (step < 1) {
    throw Error(ErrorCode::internal, "a step does not hold a window");
  }
  const auto units = [&](const SensitivityEntry& entry) {
    return blocks - entry.block + kHeadUnits;
  };
  std::int64_t done = 0;
  std::int64_t of = 0;
  for (std::int64_t first = 0; first < total; first += step) {
    const std::int64_t end = std::min(first + step, total);
    reopen_partly_done(table.entries, first, end);
    for (const auto& entry : table.entries) of += open(entry, end) ? units(entry) : 0;
  }
  for (std::int64_t first = 0; first < total; first += step) {
    const std::int64_t end = std::min(first + step, total);
    if (std::none_of(table.entries.begin(), table.entries.end(),
                     [&](const auto& entry) { return open(entry, end); })) {
      continue;
    }
    Batch batch(engine, text, options.windows, first, end - first);
    const auto base = batch.run_base();
    record_base(base, first, end, batch.scored_per_window(), table);
    std::vector<double> before;
    const SensitivityEntry* previous = nullptr;
    for (SensitivityEntry& entry : table.entries) {
      if (!open(entry, end)) continue;
      const bool continues =
          entry.form == SensitivityForm::backward && previous && same_pass(*previous, entry);
      previous = &entry;
      auto nll = batch.run_from(entry.block, levels_of(entry, blocks));
      const auto rise = rises(nll, base, continues ? before : base, batch);
      entry.windows.insert(entry.windows.end(), rise.begin(), rise.end());
      before = std::move(nll);
      done += units(entry);
      if (!after_item(done, of)) return false;
    }
  }
  return true;
}

}  // namespace spd
