#include "kernels/device/file_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/device/error.h"

namespace spd {
namespace {

constexpr mode_t kNewFile = 0666;  // less what umask takes away
constexpr mode_t kPermissions = 0777;
constexpr int kMostLinks = 40;  // as many as the kernel follows
constexpr int kMostNames = 100;

std::filesystem::path folder_of(const std::filesystem::path& file) {
  const auto folder = file.parent_path();
  return folder.empty() ? "." : folder;
}

std::string unguessable_name() {
  std::uint64_t random[2] = {};
  if (::getrandom(random, sizeof random, 0) != sizeof random) random[0] = ::getpid();
  return fmt::format(".spd-{:016x}{:016x}", random[0], random[1]);
}

const char* remedy_of(int reason) {
  switch (reason) {
    case EACCES:
    case EPERM:
      return "check the permissions of the file and of its folder";
    case ENOSPC:
    case EDQUOT:
      return "make space there, or name a file elsewhere";
    case EROFS:
      return "name a file on a file system that can be written";
    case EISDIR:
    case ENOTDIR:
    case ENOENT:
      return "name a file in a folder";
    default:
      return "check the path";
  }
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = other.release();
  }
  return *this;
}

Descriptor::~Descriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

int Descriptor::release() { return std::exchange(descriptor_, -1); }

void throw_unwritable(const std::filesystem::path& file, int reason) {
  throw Error(ErrorCode::system,
              fmt::format("{}: cannot be written: {}", file.string(), std::strerror(reason)),
              remedy_of(reason));
}

std::filesystem::path follow_links(const std::filesystem::path& file) {
  std::filesystem::path at = file;
  for (int i = 0; i < kMostLinks; ++i) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(at, error);
    if (error) return at;  // no link, or nothing there
    at = folder_of(at) / target;
  }
  throw_unwritable(file, ELOOP);
}

FileWriter::FileWriter(std::filesystem::path file)
    : file_(std::move(file)),
      folder_(::open(folder_of(file_).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
  if (!folder_) throw_unwritable(file_, errno);
  descriptor_ = Descriptor(::openat(folder_.get(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, kNewFile));
  const bool can_be_named =
      descriptor_ &&
      ::access(fmt::format("/proc/self/fd/{}", descriptor_.get()).c_str(), F_OK) == 0;
  if (!can_be_named) open_named();
}

FileWriter::~FileWriter() {
  if (!name_.empty()) ::unlinkat(folder_.get(), name_.c_str(), 0);
}

void FileWriter::open_named() {
  for (int i = 0; i < kMostNames; ++i) {
    const std::string name = unguessable_name();
    descriptor_ = Descriptor(::openat(
        folder_.get(), name.c_str(), O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, kNewFile));
    if (descriptor_) {
      name_ = name;
      return;
    }
    if (errno != EEXIST) break;
  }
  throw_unwritable(file_, errno);
}

void FileWriter::write(const void* data, std::size_t bytes) {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_.get(), next, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw_unwritable(file_, written < 0 ? errno : ENOSPC);
    next += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

// A file without a name gets one, since only what has one can take another's place.
std::string FileWriter::name_it() {
  if (!name_.empty()) return name_;
  const std::string self = fmt::format("/proc/self/fd/{}", descriptor_.get());
  for (int i = 0; i < kMostNames; ++i) {
    const std::string name = unguessable_name();
    if (::linkat(AT_FDCWD, self.c_str(), folder_.get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      return name_ = name;
    }
    if (errno != EEXIST) break;
  }
  throw_unwritable(file_, errno);
}

void FileWriter::take_over_permissions() {
  struct stat old {};
  const std::string name = file_.filename();
  if (::fstatat(folder_.get(), name.c_str(), &old, AT_SYMLINK_NOFOLLOW) != 0) return;
  // Another user's file stays theirs where this user may see to it; file systems that keep no
  // owners and permissions refuse both.
  [[maybe_unused]] const int owner = ::fchown(descriptor_.get(), old.st_uid, old.st_gid);
  ::fchmod(descriptor_.get(), old.st_mode & kPermissions);
}

void FileWriter::commit() {
  take_over_permissions();
  if (::fsync(descriptor_.get()) != 0) throw_unwritable(file_, errno);
  const std::string temporary = name_it();
  const std::string name = file_.filename();
  if (::renameat(folder_.get(), temporary.c_str(), folder_.get(), name.c_str()) != 0) {
    if (errno != EBUSY) throw_unwritable(file_, errno);
    return overwrite_in_place();
  }
  name_.clear();
  // The name is in the folder, which has to reach the disk, too; not every folder can be synced.
  const Descriptor folder(::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder && ::fsync(folder.get()) != 0 && errno != EINVAL) throw_unwritable(file_, errno);
}

// What is mounted on its own (a container's file) cannot be replaced, only be written.
void FileWriter::overwrite_in_place() {
  const Descriptor target(::openat(folder_.get(), file_.filename().c_str(),
                                   O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC));
  if (!target || ::lseek(descriptor_.get(), 0, SEEK_SET) != 0) throw_unwritable(file_, errno);
  std::vector<char> piece(std::size_t{1} << 20);
  for (ssize_t got = 1; got > 0;) {
    got = ::read(descriptor_.get(), piece.data(), piece.size());
    if (got < 0) throw_unwritable(file_, errno);
    for (ssize_t done = 0; done < got;) {
      const ssize_t written = ::write(target.get(), piece.data() + done, got - done);
      if (written <= 0) throw_unwritable(file_, written < 0 ? errno : ENOSPC);
      done += written;
    }
  }
  if (::fsync(target.get()) != 0) throw_unwritable(file_, errno);
}

}  // namespace spd
