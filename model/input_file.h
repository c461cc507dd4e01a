// Files that users and checkpoints name, read whole and within bounds.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace spd {

struct ReadLimits {
  /// More than this is refused before (regular files) or while (devices, pipes) it is read.
  std::uint64_t most_bytes = std::uint64_t{256} << 20;
  /// How long a pipe, FIFO or terminal may say nothing.
  std::chrono::milliseconds patience = std::chrono::seconds(5);
};

/// The whole content of a regular file, pipe, FIFO or device. Throws input Error that begins with
/// the file's name and says the system's reason, for what cannot be read, is a folder, is larger
/// than the limit, or says nothing for too long. `remedy` closes messages about files that cannot
/// be opened; empty: "check the path and its permissions".
std::string read_file(const std::filesystem::path& file, const ReadLimits& limits = {},
                      const std::string& remedy = "");

/// Whether a file that begins so is a Git LFS pointer: left by a clone without LFS in the place of
/// what it stands for.
bool is_lfs_pointer(std::string_view content);

}  // namespace spd
