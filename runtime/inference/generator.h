// Continuous batching: prompts in, completions out, as many at a time as the cache has slots.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "runtime/inference/engine.h"
#include "runtime/inference/sampler.h"
#include "runtime/job/interrupt.h"

namespace spd {

struct GenerationOptions {
  SamplingOptions sampling;
  std::int64_t max_new_tokens = 128;
  std::int64_t batch = 8;  ///< sequences decoded together at most
  bool stop_at_eos = true;
};

struct Completion {
  std::vector<std::int32_t> ids;  ///< generated, the end-of-sequence token left out
  bool stopped = false;           ///< by an end-of-sequence token rather than by length
  bool context_full = false;      ///< ended because there was no more room, not by max_new_tokens
  bool whole = false;             ///< came to its end
  double ttft_s = 0.0;            ///< from the start of its prefill to its first token
  double decode_s = 0.0;          ///< from its first token to its last
  double ms_per_token() const {
    return ids.size() > 1 ? 1e3 * decode_s / static_cast<double>(ids.size() - 1) : 0.0;
  }
};

class Generator {
 public:
  /// `capacity`: positions of the longest prompt and its completion.
  Generator(Engine& engine, const GenerationOptions& options, std::int64_t sequences,
            std::int64_t capacity);

  /// Called on every rank for each new token: (prompt number, token). End-of-sequence is not told.
  using TokenCallback = std::function<void(std::size_t, std::int32_t)>;
  using DoneCallback = std::function<void(std::size_t, const Completion&)>;

  /// Why run() or continue_chat() came to its end before the last token was there: a rank was asked
  /// to stop, or stdout cannot be written. The same on all ranks; asked between steps.
  const std::optional<Interruption>& stopped() const { return stopped_; }

  /// Completes `prompts` (ids, none empty). All ranks call it alike with the same prompts. Where it
  /// is stopped(), completions are what there was of them, perhaps nothing.
  std::vector<Completion> run(const std::vector<std::vector<std::int32_t>>& prompts,
                              const TokenCallback& on_token = {}, const DoneCallback& on_done = {});

  /// One more turn of a conversation: like run() of one prompt, but what the prompt shares with the
  /// previous turn's tokens is not computed again.
  Completion continue_chat(const std::vector<std::int32_t>& prompt, const TokenCallback& on_token);

 private:
  struct Sequence {
    std::size_t prompt = 0;
    std::int64_t slot = 0;
    std::int64_t position = 0;  // tokens in the cache
    std::int32_t next = 0;      // sampled, not yet in the cache
    bool finished = false;
    std::chrono::steady_clock::time_point first_token;
    Completion completion;
  };
  std::vector<std::int32_t> step(const std::vector<std::int32_t>& tokens,
                                 const std::vector<Segment>& segments,
                                 const std::vector<SampleKey>& keys, bool sample);
  void prefill(Sequence& sequence, const std::vector<std::int32_t>& prompt, std::int64_t from);
  void decode(std::vector<Sequence>& active);
  void accept(Sequence& sequence, std::int32_t token);

  Engine& engine_;
  GenerationOptions options_;
  KvCache cache_;
  Sampler sampler_;
  Buffer last_hidden_;  // [batch, hidden]
  Buffer logits_;       // [batch, local vocabulary]
  TokenCallback on_token_;
  SafePoints safe_points_;
  std::optional<Interruption> stopped_;
  std::vector<std::int32_t> chat_ids_;  // what slot 0 holds between turns
};

}  // namespace spd
