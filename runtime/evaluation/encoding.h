// Requests as token ids, split into context and continuation as lm-evaluation-harness does.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "runtime/evaluation/task.h"

namespace spd {

struct EncodedRequest {
  std::vector<TokenId> ids;  ///< context, then continuation
  std::int64_t scored = 0;   ///< tokens at the end that are the continuation, >= 1

  /// What the model is run on: the last token is only predicted.
  std::span<const TokenId> input() const { return std::span(ids).first(ids.size() - 1); }
  bool operator==(const EncodedRequest&) const = default;
};

/// The requests of one item, in the order of its choices.
using EncodedItem = std::vector<EncodedRequest>;

class RequestEncoder {
 public:
  /// `prefix`: what an empty context is replaced by (BOS or EOS). `max_length`: positions that the
  /// model has; longer requests lose tokens from the left. The tokenizer must outlive this.
  RequestEncoder(const Tokenizer& tokenizer, std::optional<TokenId> prefix, std::int64_t max_length)
      : tokenizer_(tokenizer), prefix_(prefix), max_length_(max_length) {}

  /// Throws input Error for a continuation without tokens or of more than max_length.
  EncodedItem encode(const TaskItem& item);
  /// Requests that were truncated so far.
  std::int64_t truncated() const { return truncated_; }

 private:
  EncodedRequest encode(const Request& request);

  const Tokenizer& tokenizer_;
  std::optional<TokenId> prefix_;
  std::int64_t max_length_;
  std::int64_t truncated_ = 0;
  std::string last_context_;  // the choices of an item share it
  std::vector<TokenId> last_ids_;
};

/// Items as a list of integers and back, to be sent to all ranks.
std::vector<std::int32_t> pack(std::span<const EncodedItem> items);
std::vector<EncodedItem> unpack(std::span<const std::int32_t> packed);

}  // namespace spd
