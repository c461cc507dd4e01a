#include "runtime/inference/generator.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/device/error.h"

namespace spd {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

Generator::Generator(Engine& engine, const GenerationOptions& options, std::int64_t sequences,
                     std::int64_t capacity)
    : engine_(engine),
      options_(options),
      cache_(engine.make_cache(std::clamp<std::int64_t>(sequences, 1, options.batch), capacity)),
      sampler_(options.sampling, engine.operators(), engine.context().comms,
               engine.transformer().vocab_range(), engine.config().vocab),
      last_hidden_(engine.operators().device(),
                   cache_.slots() * engine.config().hidden * sizeof(float)),
      logits_(engine.operators().device(),
              cache_.slots() * engine.transformer().vocab_range().count * sizeof(float)),
      safe_points_(engine.context().comms, engine.stream()) {
  options.sampling.validate();
}

// Runs one step; where `sample`, the last row of every segment yields a token.
std::vector<std::int32_t> Generator::step(const std::vector<std::int32_t>& tokens,
                                          const std::vector<Segment>& segments,
                                          const std::vector<SampleKey>& keys, bool sample) {
  Transformer& transformer = engine_.transformer();
  Stream& stream = engine_.stream();
  const ConstActivations hidden =
      transformer.forward(tokens, segments, engine_.plan().levels, cache_, stream);
  if (!sample) return {};
  const auto rows = static_cast<std::int64_t>(segments.size());
  const Activations last{last_hidden_.as<float>(), rows, hidden.cols};
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t row = segments[i].row + segments[i].length - 1;
    engine_.operators().copy(hidden.row_range(row, 1), last.row_range(i, 1), stream);
  }
  const Activations logits{logits_.as<float>(), rows, transformer.vocab_range().count};
  transformer.logits(last, logits, stream);
  return sampler_.sample(logits, keys, stream);
}

void Generator::accept(Sequence& sequence, std::int32_t token) {
  const auto& eos = engine_.config().eos_ids;
  Completion& completion = sequence.completion;
  if (options_.stop_at_eos && std::find(eos.begin(), eos.end(), token) != eos.end()) {
    completion.stopped = true;
    sequence.finished = true;
    return;
  }
  if (completion.ids.empty()) sequence.first_token = Clock::now();
  completion.decode_s = seconds_since(sequence.first_token);
  completion.ids.push_back(token);
  sequence.next = token;
  if (on_token_) on_token_(sequence.prompt, token);
  const bool enough = static_cast<std::int64_t>(completion.ids.size()) >= options_.max_new_tokens;
  completion.context_full = !enough && sequence.position >= cache_.capacity();
  sequence.finished = enough || completion.context_full;
}

// Puts prompt[from, end) into the cache, in steps of the workspace's size, and samples once.
void Generator::prefill(Sequence& sequence, const std::vector<std::int32_t>& prompt,
                        std::int64_t from) {
  const auto begin = Clock::now();
  const std::int64_t chunk = engine_.transformer().options().max_tokens;
  const auto end = static_cast<std::int64_t>(prompt.size());
  std::vector<std::int32_t> sampled;
  for (std::int64_t first = from; first < end; first += chunk) {
    const std::int64_t count = std::min(chunk, end - first);
    sampled =
        step({prompt.begin() + first, prompt.begin() + first + count},
             {{0, count, sequence.slot, first}}, {{sequence.prompt, 0}}, first + count == end);
    stopped_ = safe_points_.behind_long_step();
    if (stopped_ && first + count < end) return;
  }
  sequence.position = end;
  sequence.completion.ttft_s = seconds_since(begin);
  accept(sequence, sampled.front());
}

// One token for every active sequence.
void Generator::decode(std::vector<Sequence>& active) {
  std::vector<std::int32_t> tokens;
  std::vector<Segment> segments;
  std::vector<SampleKey> keys;
  for (const Sequence& sequence : active) {
    segments.push_back(
        {static_cast<std::int64_t>(tokens.size()), 1, sequence.slot, sequence.position});
    tokens.push_back(sequence.next);
    keys.push_back({sequence.prompt, sequence.completion.ids.size()});
  }
  const auto sampled = step(tokens, segments, keys, true);
  for (std::size_t i = 0; i < active.size(); ++i) {
    ++active[i].position;
    accept(active[i], sampled[i]);
  }
  if (!stopped_) stopped_ = safe_points_.behind_step();
}

std::vector<Completion> Generator::run(const std::vector<std::vector<std::int32_t>>& prompts,
                                       const TokenCallback& on_token, const DoneCallback& on_done) {
  on_token_ = on_token;
  chat_ids_.clear();
  std::vector<Completion> completions(prompts.size());
  std::vector<std::int64_t> free_slots;
  for (std::int64_t slot = cache_.slots(); slot-- > 0;) free_slots.push_back(slot);
  std::vector<Sequence> active;
  const auto retire = [&] {
    std::erase_if(active, [&](Sequence& sequence) {
      if (!sequence.finished) return false;
      free_slots.push_back(sequence.slot);
      sequence.completion.whole = true;
      if (on_done) on_done(sequence.prompt, sequence.completion);
      completions[sequence.prompt] = std::move(sequence.completion);
      return true;
    });
  };
  stopped_.reset();
  for (std::size_t next = 0; !stopped_ && (next < prompts.size() || !active.empty());) {
    while (!stopped_ && next < prompts.size() && !free_slots.empty()) {
      Sequence sequence;
      sequence.prompt = next;
      sequence.slot = free_slots.back();
      free_slots.pop_back();
      prefill(sequence, prompts[next++], 0);
      active.push_back(std::move(sequence));
      retire();
    }
    if (!stopped_ && !active.empty()) decode(active);
    retire();
  }
  for (Sequence& sequence : active) {
    completions[sequence.prompt] = std::move(sequence.completion);
  }
  return completions;
}

Completion Generator::continue_chat(const std::vector<std::int32_t>& prompt,
                                    const TokenCallback& on_token) {
  on_token_ = on_token;
  const auto [mine, theirs] =
      std::mismatch(chat_ids_.begin(), chat_ids_.end(), prompt.begin(), prompt.end());
  // At least the last token is run again: its logits are what the reply begins with.
  const std::int64_t shared = std::min<std::int64_t>(mine - chat_ids_.begin(),
                                                     static_cast<std::int64_t>(prompt.size()) - 1);
  std::vector<Sequence> active(1);
  stopped_.reset();
  prefill(active.front(), prompt, shared);
  while (!stopped_ && !active.front().finished) decode(active);
  Completion completion = std::move(active.front().completion);
  chat_ids_ = prompt;
  // The last token was sampled but never run, unless an end-of-sequence token followed it.
  const std::size_t run = static_cast<std::size_t>(active.front().position) - prompt.size();
  chat_ids_.insert(chat_ids_.end(), completion.ids.begin(),
                   completion.ids.begin() + std::min(run, completion.ids.size()));
  return completion;
}

}  // namespace spd
