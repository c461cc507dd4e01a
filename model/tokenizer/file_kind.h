// The kind of a file that is not what its name promises, for messages.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace spd {

/// What `content` is, if it is one of the things that often lie under another file's name, e.g. "a
/// Git LFS pointer, not the file itself"; else "".
std::string name_other_kind(std::string_view content);

/// Throws input Error naming the file for content that name_other_kind() knows, and for JSON that
/// has a zero byte (which the parser would take for its end). `wanted` says what is needed instead.
void refuse_other_kinds(const std::filesystem::path& file, std::string_view content,
                        const std::string& wanted);

/// A text from a file in a message: in quotes, shortened, safe for a terminal.
std::string quoted_text(std::string_view text);

}  // namespace spd
