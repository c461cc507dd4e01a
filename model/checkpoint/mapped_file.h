// A file mapped read-only, and the message for when it shrinks under those who read it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

namespace spd {

/// Pages that are gone when they are read (the file was truncated, its disk failed) end the process
/// at once, as what was read could not be right: with the exit status of an input Error and one
/// message that names the file and who read it (see name_reader). Move-only.
class MappedFile {
 public:
  /// Throws input Error beginning with the file's name and saying the system's reason where it
  /// cannot be mapped, is not a regular file or is empty.
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;
  ~MappedFile();

  const std::filesystem::path& path() const;
  const std::byte* data() const;
  std::size_t bytes() const;

  /// Throws input Error where the file was written to since it was mapped: what was read may be
  /// partly old and partly new. A file of the same name that took its place is of no account.
  void check_unchanged() const;

 private:
  struct Mapping;
  std::unique_ptr<Mapping> mapping_;
};

/// Names the calling thread in the message above, e.g. "rank 3". Threads that were not named are
/// named by the last call with `whole_process`.
void name_reader(const std::string& who, bool whole_process);

}  // namespace spd
