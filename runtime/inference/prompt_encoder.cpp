#include "runtime/inference/prompt_encoder.h"

#include <fmt/format.h>

#include "kernels/device/error.h"

namespace spd {
namespace {

using Json = nlohmann::ordered_json;

// What only a template can make something of.
void check_plain(const Prompt& prompt, const PromptOptions& options) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::usage,
                fmt::format("{}: {} given for a prompt that is plain text", prompt.origin, what),
                "add --chat, or give \"messages\" instead of a prompt");
  };
  if (!options.system.empty()) refuse("--system is");
  if (!options.template_arguments.empty()) refuse("--template-arg is");
  if (!prompt.chat.tools.is_null()) refuse("tools are");
  if (!prompt.chat.documents.is_null()) refuse("documents are");
  if (!prompt.chat.arguments.empty()) refuse("chat_template_kwargs are");
}

bool instructs(const Json& message) {
  const Json role = message.value("role", Json());
  return role == "system" || role == "developer";
}

}  // namespace

Conversation PromptEncoder::conversation_of(const Prompt& prompt) const {
  Conversation chat = prompt.chat;
  if (chat.messages.empty()) {
    chat.messages.push_back(Json{{"role", "user"}, {"content", prompt.text}});
  }
  if (!options_.system.empty() && !instructs(chat.messages.front())) {
    chat.messages.insert(chat.messages.begin(),
                         Json{{"role", "system"}, {"content", options_.system}});
  }
  for (const auto& [name, value] : options_.template_arguments.items()) {
    if (!chat.arguments.contains(name)) chat.arguments[name] = value;
  }
  return chat;
}

void PromptEncoder::load_template() {
  if (!template_) template_ = ChatTemplate::load(model_);
}

EncodedPrompt PromptEncoder::encode(const Prompt& prompt) {
  EncodedPrompt encoded;
  encoded.is_chat = options_.chat || prompt.is_chat();
  if (encoded.is_chat) {
    load_template();
    try {
      encoded.text = template_->render(conversation_of(prompt), options_.now);
    } catch (const Error& error) {
      // Without remedy: what the template makes of these messages, or refuses itself.
      const std::string advice = error.remedy();
      throw Error(error.code(), fmt::format("{}: {}", prompt.origin, error.message()),
                  advice.empty() ? "give messages that the chat template takes, or a plain prompt"
                                 : advice);
    }
  } else {
    check_plain(prompt, options_);
    encoded.text = prompt.text;
  }
  if (!encoded.text.empty()) encoded.ids = tokenizer_.encode(encoded.text, !encoded.is_chat);
  if (encoded.ids.empty()) {
    throw Error(ErrorCode::input, fmt::format("{}: the prompt is empty", prompt.origin),
                "give at least one character");
  }
  return encoded;
}

}  // namespace spd
