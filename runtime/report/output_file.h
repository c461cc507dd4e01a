// Files that commands are asked to write: opened before the work, written without losing anything.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "kernels/device/file_writer.h"
#include "runtime/job/launch.h"

namespace spd {

enum class OutputKind {
  any,      ///< what `cat > FILE` writes to: files, devices, FIFOs, through symbolic links
  regular,  ///< a file that is written again and again, or has others beside it
};

/// The name of stdout where an output is asked for; a file of this name is "./-".
inline constexpr const char* kStdout = "-";

/// The number of this process's descriptor that a path names: "-", /dev/stdout, /dev/fd/3.
std::optional<int> own_descriptor(const std::filesystem::path& file);

/// One file to be written; none where no name was given.
///
/// A regular file is replaced at once, whole and on the disk; a symbolic link stays, what it leads
/// to is replaced. Devices, FIFOs and this process's own descriptors ("-", /dev/stdout) are written
/// through. Two jobs, or two options, that are to write one file: the second is refused.
class OutputFile {
 public:
  OutputFile() = default;
  /// Makes the folder and makes sure that the file can be written. Waits for a FIFO's reader, but
  /// not for long. Throws system Error naming `flag`, file and the system's reason, usage Error
  /// where another job holds the file.
  OutputFile(std::string flag, const std::filesystem::path& file, OutputKind kind);

  explicit operator bool() const { return !file_.empty(); }
  /// As it was given; where it leads to is another matter.
  const std::filesystem::path& file() const { return file_; }
  /// The regular file behind the links; empty: there is none.
  const std::filesystem::path& place() const { return place_; }
  /// Whether a second write() takes the place of the first, rather than to follow it.
  bool is_replaced() const { return replaced_; }

  /// Writes all of the content. Throws system Error naming flag, file and reason.
  void write(std::string_view text) const;
  void write_json(const nlohmann::json& json) const;

 private:
  friend OutputFile open_output(const RankContext& context, const char* flag,
                                const std::filesystem::path& file, OutputKind kind);
  class Lock;

  void open_place(OutputKind kind);
  void open_stream();
  void write_stream(std::string_view text) const;

  std::string flag_;
  std::filesystem::path file_;
  std::filesystem::path place_;
  Descriptor stream_;
  bool replaced_ = true;
  std::shared_ptr<Lock> lock_;  // until the last user of the file has gone
};

/// Opens it on rank 0, the one that writes; all ranks call it alike, before the work, and throw
/// AgreedError where it is refused. An empty name: no file. "-": what commands print goes to stderr
/// from now on, so that stdout has the output alone.
OutputFile open_output(const RankContext& context, const char* flag,
                       const std::filesystem::path& file, OutputKind kind = OutputKind::any);

/// Writes on rank 0; all ranks call it alike, and throw AgreedError alike, which says what else of
/// the work is `kept`: "the plan, in p.json". No file: nothing.
void write_output(const RankContext& context, const OutputFile& file, std::string_view text,
                  const std::string& kept = "");
void write_json(const RankContext& context, const OutputFile& file, const nlohmann::json& json,
                const std::string& kept = "");

/// On one rank: replaces a file that a command keeps its progress in, in a folder of its own or
/// beside an OutputFile. Throws system Error naming the file and the reason.
void write_store(const std::filesystem::path& file, const nlohmann::json& json);

/// JSON as text, indented by `indent` (-1: on one line). What is no UTF-8 (names of files may be
/// any bytes) becomes U+FFFD: nothing that was computed is lost by it.
std::string json_text(const nlohmann::json& json, int indent = 2);

}  // namespace spd
