#include "runtime/report/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "kernels/device/error.h"
#include "model/hash.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"

namespace spd {
namespace {

constexpr std::chrono::seconds kPatience{5};  // for a FIFO's reader to come
constexpr std::chrono::milliseconds kGlance{50};

// Runs `work`; its system Errors get the flag in front.
template <class Work>
void naming(const std::string& flag, const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{} {}", flag, error.what()));
  }
}

}  // namespace

std::optional<int> own_descriptor(const std::filesystem::path& file) {
  if (file == kStdout) return STDOUT_FILENO;
  std::filesystem::path at = file;
  for (int i = 0; i < 40; ++i) {
    std::error_code error;
    const auto folder = std::filesystem::canonical(at.parent_path(), error);
    const std::string name = at.filename();
    if (!error && folder == fmt::format("/proc/{}/fd", ::getpid())) {
      int number = -1;
      const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), number);
      if (wrong == std::errc() && end == name.data() + name.size()) return number;
    }
    const auto target = std::filesystem::read_symlink(at, error);
    if (error) return std::nullopt;
    at = at.parent_path() / target;
  }
  return std::nullopt;
}

/// Keeps other jobs from the same file, by a lock that the kernel drops when this process ends,
/// however it does. On a file of its own, since the one that is written is another each time.
class OutputFile::Lock {
 public:
  /// Throws usage Error where another has it. A folder that takes no lock files goes without.
  explicit Lock(const std::filesystem::path& place) {
    constexpr std::size_t kLongest = 240;  // of the 255 bytes that a name may have
    const std::string name = place.filename();
    file_ = place.parent_path() /
            fmt::format(".{}.lock", name.size() < kLongest ? name : hash_text(name));
    while (true) {
      descriptor_ =
          Descriptor(::open(file_.c_str(), O_CREAT | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0666));
      if (!descriptor_) return;
      if (::flock(descriptor_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) return;
        throw Error(ErrorCode::usage,
                    fmt::format("{}: is being written by another job, or by another option of "
                                "this one",
                                place.string()),
                    "wait for its end, or name another file");
      }
      // The one before may have removed the file between the two calls.
      struct stat mine {};
      struct stat there {};
      if (::fstat(descriptor_.get(), &mine) == 0 && ::lstat(file_.c_str(), &there) == 0 &&
          mine.st_ino == there.st_ino && mine.st_dev == there.st_dev) {
        held_ = true;
        return;
      }
    }
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() {
    if (held_) ::unlink(file_.c_str());
  }

 private:
  std::filesystem::path file_;
  Descriptor descriptor_;
  bool held_ = false;
};

OutputFile::OutputFile(std::string flag, const std::filesystem::path& file, OutputKind kind)
    : flag_(std::move(flag)), file_(file) {
  if (file_.empty()) return;
  naming(flag_, [&] {
    if (const auto number = own_descriptor(file_)) {
      stream_ = Descriptor(::fcntl(*number, F_DUPFD_CLOEXEC, 3));
      if (!stream_) throw_unwritable(file_, errno);
      replaced_ = false;
    } else {
      open_place(kind);
    }
    if (!replaced_ && kind == OutputKind::regular) {
      throw Error(ErrorCode::usage,
                  fmt::format("{}: is no regular file, which this option needs", file_.string()),
                  "name a file in a folder: it is written again and again, and others beside it");
    }
  });
}

void OutputFile::open_place(OutputKind kind) {
  std::filesystem::path target = follow_links(file_);
  if (target.filename().empty()) throw_unwritable(file_, EISDIR);
  struct stat status {};
  const bool there = ::stat(target.c_str(), &status) == 0;
  if (!there && errno != ENOENT) throw_unwritable(file_, errno);
  if (there && S_ISDIR(status.st_mode)) throw_unwritable(file_, EISDIR);
  if (there && S_ISBLK(status.st_mode)) {
    throw Error(ErrorCode::usage, fmt::format("{}: is a disk", file_.string()),
                "name a file on it");
  }
  if (there && !S_ISREG(status.st_mode)) {
    replaced_ = false;
    if (kind == OutputKind::any) open_stream();
    return;
  }
  if (there && ::access(target.c_str(), W_OK) != 0) throw_unwritable(file_, errno);
  target = std::filesystem::absolute(target);
  std::error_code error;
  std::filesystem::create_directories(target.parent_path(), error);
  if (error) throw_unwritable(file_, error.value());
  FileWriter trial(target);
  place_ = target;
  lock_ = std::make_shared<Lock>(place_);
}

void OutputFile::open_stream() {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    // Not to wait for a FIFO's reader without an end.
    stream_ = Descriptor(::open(file_.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    if (stream_) return;
    struct stat status {};
    const int reason = errno;
    const bool waits =
        reason == ENXIO && ::stat(file_.c_str(), &status) == 0 && S_ISFIFO(status.st_mode);
    if (!waits) throw_unwritable(file_, reason);
    if (std::chrono::steady_clock::now() > until || interrupted()) {
      throw Error(ErrorCode::system,
                  fmt::format("{}: is a FIFO that nobody has opened for reading within {} s",
                              file_.string(), kPatience.count()),
                  "start the reader first");
    }
    std::this_thread::sleep_for(kGlance);
  }
}

void OutputFile::write(std::string_view text) const {
  if (file_.empty()) return;
  naming(flag_, [&] {
    if (!replaced_) return write_stream(text);
    FileWriter writer(place_);
    writer.write(text);
    writer.commit();
  });
}

void OutputFile::write_json(const nlohmann::json& json) const { write(json_text(json) + '\n'); }

void OutputFile::write_stream(std::string_view text) const {
  flush_stdout();  // which may be the same
  if (const int reason = write_through(stream_.get(), text)) throw_unwritable(file_, reason);
}

OutputFile open_output(const RankContext& context, const char* flag,
                       const std::filesystem::path& file, OutputKind kind) {
  OutputFile output;
  if (file.empty()) return output;
  agree(context.comms, "opening what is to be written", [&] {
    if (!context.root()) return;
    output = OutputFile(flag, file, kind);
    if (file == kStdout) say_on_stderr();
  });
  output.file_ = file;
  output.replaced_ =
      broadcast_ids(context.comms, {static_cast<std::int32_t>(output.replaced_)}).front() != 0;
  return output;
}

void write_output(const RankContext& context, const OutputFile& file, std::string_view text,
                  const std::string& kept) {
  if (!file) return;
  agree(context.comms, "writing results", [&] {
    if (!context.root()) return;
    try {
      file.write(text);
    } catch (const Error& error) {
      throw kept.empty() ? error
                         : Error(error.code(), fmt::format("{}\n  kept: {}", error.what(), kept));
    }
  });
}

void write_json(const RankContext& context, const OutputFile& file, const nlohmann::json& json,
                const std::string& kept) {
  if (file) write_output(context, file, context.root() ? json_text(json) + '\n' : "", kept);
}

void write_store(const std::filesystem::path& file, const nlohmann::json& json) {
  FileWriter writer(follow_links(file));
  writer.write(json_text(json, -1) + '\n');
  writer.commit();
}

std::string json_text(const nlohmann::json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace spd
