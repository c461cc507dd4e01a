// A writer of files that loses nothing: what stands at a path stays until its successor is whole
// and on the disk; nothing half-written is ever seen or left behind.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace spd {

/// A descriptor that is closed at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int descriptor = -1) : descriptor_(descriptor) {}
  Descriptor(Descriptor&& other) noexcept : descriptor_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();

  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }
  int release();

 private:
  int descriptor_;
};

/// Throws system Error "FILE: cannot be written: REASON" for an errno, with what mends that.
[[noreturn]] void throw_unwritable(const std::filesystem::path& file, int reason);

/// The path that a chain of symbolic links ends at, whether something stands there or not.
/// Throws system Error naming `file` where they go in circles.
std::filesystem::path follow_links(const std::filesystem::path& file);

/// The next content of a regular file, or of one that is to be. It has no name while it is written
/// (or, on file systems that know no such files, an unguessable one that is removed again).
/// Throws system Error naming the file and the system's reason, from all it does.
class FileWriter {
 public:
  /// Opens it in `file`'s folder; `file` is no symbolic link (see follow_links).
  explicit FileWriter(std::filesystem::path file);
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  ~FileWriter();

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }

  /// Gives it another name in the same folder, if it is one that its content decides on.
  void rename(const std::string& name) { file_.replace_filename(name); }
  const std::filesystem::path& file() const { return file_; }

  /// Puts it in the place of what stands there, whose permissions it takes over; on the disk, the
  /// name too, when it returns. Without commit() the old content stays.
  void commit();

 private:
  void open_named();
  std::string name_it();
  void take_over_permissions();
  void overwrite_in_place();

  std::filesystem::path file_;
  Descriptor folder_;
  Descriptor descriptor_;
  std::string name_;  // in the folder, until it has been put in place; empty: none
};

}  // namespace spd
