// Files that are written whole or not at all.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace spd {

/// Writes beside the file and renames. Throws system Error naming `flag`, which gave the file.
void write_text_file(const char* flag, const std::filesystem::path& file, const std::string& text);
/// The same, indented.
void write_json_file(const char* flag, const std::filesystem::path& file,
                     const nlohmann::json& json);

}  // namespace spd
