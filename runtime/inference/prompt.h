// A prompt, and how it is written as JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "model/tokenizer/chat_template.h"

namespace spd {

/// Plain text, or a conversation to be put through the model's chat template.
struct Prompt {
  std::string text;
  Conversation chat;          ///< without messages: `text` is the prompt
  std::string origin;         ///< for messages: "--prompt", "prompts.jsonl line 3"
  nlohmann::ordered_json id;  ///< the user's own name for it, or null

  bool is_chat() const { return !chat.messages.empty(); }
};

/// The prompts that `value` stands for:
///   {"prompt": TEXT} or {"messages": [{"role": R, "content": C, ...}, ...]}, either with "id" (a
///   text or an integer), "tools", "documents" and "chat_template_kwargs" (what the template takes
///   beside the messages);
///   a text;
///   a list of messages: one conversation;
///   a list of all these: as many prompts.
/// Content is a text, or a list of {"type": "text", "text": T}; tools may answer in other JSON.
/// Throws input Error that begins with `origin` for all else: keys that are not known, both prompt
/// and messages, images.
std::vector<Prompt> prompts_of(const nlohmann::ordered_json& value, const std::string& origin);

/// Throws input Error that begins with `where` for template arguments whose names are taken.
void check_template_arguments(const nlohmann::ordered_json& arguments, const std::string& where);

}  // namespace spd
