// The post-processor of a tokenizer: the ids it adds before and after those of a text.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/json_component.h"
#include "model/tokenizer/tokenizer.h"

namespace spd {

struct PostProcessor {
  std::vector<TokenId> prefix, suffix;
};

/// ByteLevel (adds nothing), TemplateProcessing (its template for a single text),
/// RobertaProcessing, BertProcessing, Sequence. Throws input Error for any other, and for a token
/// that is not in the vocabulary.
PostProcessor make_post_processor(const JsonComponent& spec, std::int64_t vocab_size);

}  // namespace spd
