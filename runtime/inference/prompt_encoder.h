// Prompts as the ids that a model is run on.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "runtime/inference/prompt.h"
#include "runtime/inference/prompt_options.h"

namespace spd {

struct EncodedPrompt {
  std::string text;               ///< what was encoded; of a chat: as its template rendered it
  std::vector<std::int32_t> ids;  ///< at least one
  bool is_chat = false;
};

/// Both options and tokenizer must outlive it.
class PromptEncoder {
 public:
  PromptEncoder(std::filesystem::path model, const PromptOptions& options,
                const Tokenizer& tokenizer)
      : model_(std::move(model)), options_(options), tokenizer_(tokenizer) {}

  /// Plain text is encoded with what the tokenizer adds around a text; chats (conversations, and
  /// with --chat all prompts) are put through the model's template and encoded as they come out.
  /// Throws input Error that begins with the prompt's origin.
  EncodedPrompt encode(const Prompt& prompt);
  /// Reads the model's chat template now instead of for the first chat. Throws input Error where
  /// there is none.
  void load_template();

 private:
  Conversation conversation_of(const Prompt& prompt) const;

  std::filesystem::path model_;
  const PromptOptions& options_;
  const Tokenizer& tokenizer_;
  std::optional<ChatTemplate> template_;
};

}  // namespace spd
