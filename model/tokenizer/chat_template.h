// Conversations as the prompt text that a model was trained on.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace spd {

struct ChatFormat;

struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant"
  std::string content;
};

/// One of the known templates, recognised by the text of chat_template.jinja or of
/// tokenizer_config.json's chat_template (which is Jinja, of which this program runs nothing):
/// "chatml" (SmolLM2, Qwen), "llama3", "llama2", "mistral", "zephyr" (TinyLlama). What varies
/// between models of a kind (default system prompt, spaces around marks, dates) is taken from
/// there.
class ChatTemplate {
 public:
  /// Throws input Error (file, remedy: use a plain prompt) where the model has no template or one
  /// that is not known.
  static ChatTemplate load(const std::filesystem::path& model_dir);
  /// The prompt, ending where the assistant's turn begins. To be encoded without added specials.
  /// Throws usage Error for a role that is not known, or an order of roles that the template has no
  /// form for (llama2, mistral: user and assistant in turn).
  std::string render(const std::vector<ChatMessage>& messages) const;
  /// One of the names above.
  const std::string& name() const;

 private:
  explicit ChatTemplate(std::shared_ptr<const ChatFormat> format) : format_(std::move(format)) {}
  std::shared_ptr<const ChatFormat> format_;
};

}  // namespace spd
