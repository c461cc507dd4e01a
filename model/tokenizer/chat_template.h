// Conversations as the prompt text that a model was trained on.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace spd {

struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant"
  std::string content;
};

/// One of the known templates (ChatML, LLaMA 2, LLaMA 3, Mistral, Zephyr/TinyLlama, ...),
/// recognised from tokenizer_config.json's (or chat_template.jinja's) text, default system prompt
/// included.
class ChatTemplate {
 public:
  /// Throws input Error (file, remedy: use a plain prompt) where the model has no template or one
  /// that is not known.
  static ChatTemplate load(const std::filesystem::path& model_dir);
  /// The prompt, ending where the assistant's turn begins. To be encoded without added specials.
  std::string render(const std::vector<ChatMessage>& messages) const;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  std::string default_system_;
  std::string bos_, eos_;
};

}  // namespace spd
