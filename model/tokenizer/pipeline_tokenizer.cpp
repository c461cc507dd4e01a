#include "model/tokenizer/pipeline_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"

namespace spd {

PipelineTokenizer::PipelineTokenizer(Parts parts)
    : parts_(std::move(parts)),
      added_(std::exchange(parts_.added_tokens, {}), parts_.normalizer.get()) {
  if (!parts_.decoder) parts_.decoder = make_joining_decoder();
}

std::vector<TokenId> PipelineTokenizer::encode(std::string_view text, bool add_special) const {
  const std::string valid = replace_invalid_utf8(text);
  std::vector<TokenId> ids;
  if (add_special) ids = parts_.post_processor.prefix;
  Bpe::Workspace workspace;
  for (const TextSpan& span : added_.find(valid, false)) {
    if (span.id >= 0) {
      ids.push_back(span.id);
      continue;
    }
    const auto stretch = std::string_view(valid).substr(span.begin, span.end - span.begin);
    encode_text(stretch, span.begin == 0, workspace, ids);
  }
  if (add_special) {
    const std::vector<TokenId>& suffix = parts_.post_processor.suffix;
    ids.insert(ids.end(), suffix.begin(), suffix.end());
  }
  return ids;
}

void PipelineTokenizer::encode_text(std::string_view text, bool at_start, Bpe::Workspace& workspace,
                                    std::vector<TokenId>& ids) const {
  std::string normalized(text);
  if (parts_.normalizer) parts_.normalizer->apply(normalized);
  for (const TextSpan& span : added_.find(normalized, true)) {
    if (span.id >= 0) {
      ids.push_back(span.id);
      continue;
    }
    SplitText words(normalized.substr(span.begin, span.end - span.begin),
                    at_start && span.begin == 0);
    if (parts_.pre_tokenizer) parts_.pre_tokenizer->apply(words);
    for (std::size_t i = 0; i < words.size(); ++i) parts_.bpe->encode(words[i], workspace, ids);
  }
}

std::optional<std::string_view> PipelineTokenizer::token_text(TokenId id) const {
  if (const AddedToken* added = added_.token(id)) return added->content;
  return parts_.bpe->vocabulary().text(id);
}

std::int64_t PipelineTokenizer::vocab_size() const {
  std::int64_t size = parts_.bpe->vocabulary().size();
  for (const AddedToken& token : added_.tokens()) {
    size = std::max<std::int64_t>(size, token.id + 1);
  }
  return size;
}

std::optional<TokenId> PipelineTokenizer::id_of(std::string_view token) const {
  if (const AddedToken* added = added_.token(token)) return added->id;
  return parts_.bpe->vocabulary().find(token);
}

}  // namespace spd
