// Pre-tokenizers: how a text is cut into the words within which BPE merges.
#pragma once

#include <memory>

#include "model/tokenizer/json_component.h"
#include "model/tokenizer/split_text.h"

namespace spd {

class PreTokenizer {
 public:
  PreTokenizer() = default;
  PreTokenizer(const PreTokenizer&) = delete;
  PreTokenizer& operator=(const PreTokenizer&) = delete;
  virtual ~PreTokenizer() = default;
  virtual void apply(SplitText& text) const = 0;
};

/// ByteLevel, Digits, Metaspace, Punctuation, Split, Whitespace, WhitespaceSplit, Sequence. Throws
/// input Error for any other.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonComponent& spec);

/// Marks for spaces, and one more before the text (not before its later stretches): what
/// transformers makes of LLaMA's tokenizers, except that a text which begins with a space gets its
/// mark, too, as SentencePiece does it.
std::unique_ptr<PreTokenizer> make_llama_pre_tokenizer();

/// When Metaspace puts its mark before a text.
enum class PrependScheme { always, first, never };
/// The field "prepend_scheme" of a Metaspace, or what the older "add_prefix_space" stands for.
PrependScheme parse_prepend_scheme(const JsonComponent& spec);

}  // namespace spd
