// The messages of a conversation, as a template is to see them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace spd {

/// As transformers 5 prepares them: fields that are null are dropped (templates take a missing
/// "content" better than a null one), and what the assistant thought has all of its usual names
/// (reasoning_content and thinking).
nlohmann::ordered_json prepared_messages(const nlohmann::ordered_json& messages);

/// Whether some content is a list that has nothing but text: {"type": "text", "text": T}, or T.
bool has_text_parts(const nlohmann::ordered_json& messages);
/// The messages with such lists as one text, their parts on lines of their own.
nlohmann::ordered_json with_joined_parts(nlohmann::ordered_json messages);

/// An assistant's last message, to be continued instead of answered: a mark is put behind its text
/// before the template runs, and the prompt ends where the mark came out.
class OpenEnd {
 public:
  /// Marks the last message's content, or the last text part of it. Throws input Error where there
  /// is none.
  explicit OpenEnd(nlohmann::ordered_json& messages);
  /// The prompt up to the mark. As there, white space before it goes if the template trimmed what
  /// follows the mark. Throws input Error where the template left the message out.
  std::string cut(const std::string& prompt) const;

 private:
  std::string text_;  // of the message, as it was
};

}  // namespace spd
