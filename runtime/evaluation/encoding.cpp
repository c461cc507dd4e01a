#include "runtime/evaluation/encoding.h"

#include <fmt/format.h>

#include "kernels/device/error.h"
#include "model/json_text.h"
#include "model/tokenizer/python_text.h"

namespace spd {

EncodedItem RequestEncoder::encode(const TaskItem& item) {
  EncodedItem encoded;
  try {
    for (const Request& request : item.requests) encoded.push_back(encode(request));
  } catch (const Error& error) {
    throw Error(ErrorCode::input, fmt::format("item {}: {}", item.number, error.message()),
                error.remedy());
  }
  return encoded;
}

EncodedRequest RequestEncoder::encode(const Request& request) {
  EncodedRequest encoded;
  std::size_t context_tokens = 0;
  if (request.context.empty()) {
    encoded.ids = tokenizer_.encode(request.continuation, false);
    if (prefix_ && (encoded.ids.empty() || encoded.ids.front() != *prefix_)) {
      encoded.ids.insert(encoded.ids.begin(), *prefix_);
    }
    context_tokens = 1;
  } else {
    // Spaces at the context's end belong to the continuation's first token.
    const std::string context(python_rstrip(request.context));
    const std::string whole = request.context + request.continuation;
    if (context != last_context_ || last_ids_.empty()) {
      last_context_ = context;
      last_ids_ = tokenizer_.encode(context, true);
    }
    const auto whole_ids = tokenizer_.encode(whole, true);
    context_tokens = last_ids_.size();
    encoded.ids = last_ids_;
    if (whole_ids.size() > context_tokens) {
      encoded.ids.insert(encoded.ids.end(),
                         whole_ids.begin() + static_cast<std::ptrdiff_t>(context_tokens),
                         whole_ids.end());
    }
  }
  encoded.scored =
      static_cast<std::int64_t>(encoded.ids.size()) - static_cast<std::int64_t>(context_tokens);
  if (context_tokens < 1 || encoded.scored < 1 || encoded.scored > max_length_) {
    throw Error(ErrorCode::input,
                fmt::format("{} after {}: {} tokens to score after {}, the model takes {}",
                            shown_json(request.continuation), shown_json(request.context),
                            encoded.scored, context_tokens, max_length_),
                "leave the item out of the data");
  }
  const std::int64_t beyond = static_cast<std::int64_t>(encoded.ids.size()) - (max_length_ + 1);
  if (beyond > 0) {
    encoded.ids.erase(encoded.ids.begin(), encoded.ids.begin() + beyond);
    ++truncated_;
  }
  return encoded;
}

std::vector<std::int32_t> pack(std::span<const EncodedItem> items) {
  std::vector<std::int32_t> packed;
  for (const EncodedItem& item : items) {
    packed.push_back(static_cast<std::int32_t>(item.size()));
    for (const EncodedRequest& request : item) {
      packed.push_back(static_cast<std::int32_t>(request.scored));
      packed.push_back(static_cast<std::int32_t>(request.ids.size()));
      packed.insert(packed.end(), request.ids.begin(), request.ids.end());
    }
  }
  return packed;
}

std::vector<EncodedItem> unpack(std::span<const std::int32_t> packed) {
  std::vector<EncodedItem> items;
  std::size_t at = 0;
  while (at < packed.size()) {
    EncodedItem item(packed[at++]);
    for (EncodedRequest& request : item) {
      request.scored = packed[at++];
      const auto length = static_cast<std::size_t>(packed[at++]);
      const auto ids = packed.subspan(at, length);
      request.ids.assign(ids.begin(), ids.end());
      at += length;
    }
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace spd
