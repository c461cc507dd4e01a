#include "model/checkpoint/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string_view>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"

namespace spd {
namespace {

// ---- what the signal handler reads: nothing that is locked, allocated or freed ----

/// A mapping that the handler may find. Never freed, used again by a later mapping.
struct Watched {
  std::atomic<std::uintptr_t> begin{0};  // 0: free
  std::atomic<std::uintptr_t> end{0};
  std::array<char, 1024> message{};  // behind the reader's name
  Watched* next = nullptr;           // set before it is published
};

constexpr std::size_t kMaxName = 64;
using Name = std::array<char, kMaxName>;

std::atomic<Watched*> all_watched{nullptr};
std::mutex changes;  // of the list: the handler does not change it
thread_local Name thread_name{};
Name process_name{};
struct sigaction previous_action {};
const int kStatus = Error(ErrorCode::input, "").exit_status();

const Watched* watched_at(std::uintptr_t address) {
  for (const Watched* one = all_watched.load(); one != nullptr; one = one->next) {
    const std::uintptr_t begin = one->begin.load();
    if (begin != 0 && begin <= address && address < one->end.load()) return one;
  }
  return nullptr;
}

/// One write, so that messages of several ranks do not mix.
void say(const Watched& watched) {
  std::array<char, kMaxName + 1100> text{};
  std::size_t size = 0;
  const auto add = [&](const char* part) {
    const std::size_t length = std::min(std::strlen(part), text.size() - size);
    std::memcpy(text.data() + size, part, length);
    size += length;
  };
  const char* who = thread_name[0] != '\0' ? thread_name.data() : process_name.data();
  add("spd: ");
  add(who);
  if (who[0] != '\0') add(": ");
  add(watched.message.data());
  // There is nobody to tell that nobody can be told.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), size);
}

void on_bus_error(int signal, siginfo_t* info, void*) {
  if (const Watched* watched = watched_at(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
    say(*watched);
    ::_exit(kStatus);
  }
  // Not ours: whoever was to see it meets it again.
  ::sigaction(signal, &previous_action, nullptr);
}

// ---- the rest of the process's side ----

void install_handler() {
  // After the libraries that set their own when they are loaded (UCX), and for all threads.
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    ::sigemptyset(&action.sa_mask);
    return ::sigaction(SIGBUS, &action, &previous_action) == 0;
  }();
  static_cast<void>(installed);
}

Watched* watch(const void* address, std::size_t bytes, const std::filesystem::path& path) {
  install_handler();
  const std::lock_guard lock(changes);
  Watched* watched = all_watched.load();
  while (watched != nullptr && watched->begin.load() != 0) watched = watched->next;
  const bool fresh = watched == nullptr;
  if (fresh) watched = new Watched;  // kept for ever
  constexpr std::string_view kWhat =
      ": a part of it that was there is gone: it shrank while it was read, or its disk failed\n"
      "  remedy: leave the files of a running job alone; start again once the file is whole\n";
  std::string message = printable(path.string());
  // Of a very long name the end says most.
  const std::size_t room = watched->message.size() - 1 - kWhat.size();
  if (message.size() > room) message = message.substr(message.size() - room);
  message += kWhat;
  std::copy_n(message.c_str(), message.size() + 1, watched->message.begin());
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  watched->end = begin + bytes;
  watched->begin = begin;
  if (fresh) {
    watched->next = all_watched.load();
    all_watched = watched;
  }
  return watched;
}

void unwatch(Watched* watched) {
  const std::lock_guard lock(changes);
  watched->begin = 0;
  watched->end = 0;
}

/// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path)
      // Without O_NONBLOCK opening a FIFO waits for a writer.
      : value_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int value() const { return value_; }

 private:
  int value_;
};

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& why,
                         const std::string& remedy) {
  throw Error(ErrorCode::input, fmt::format("{}: {}", path.string(), why), remedy);
}

}  // namespace

struct MappedFile::Mapping {
  std::filesystem::path path;
  void* address = MAP_FAILED;
  std::size_t bytes = 0;
  struct stat status {};
  Watched* watched = nullptr;

  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (watched != nullptr) unwatch(watched);
    if (address != MAP_FAILED) ::munmap(address, bytes);
  }
};

MappedFile::MappedFile(const std::filesystem::path& path) : mapping_(std::make_unique<Mapping>()) {
  Mapping& mapping = *mapping_;
  mapping.path = path;
  const auto refused = [&] {
    refuse(path, fmt::format("cannot be read: {}", std::strerror(errno)),
           "check that the file is there and may be read");
  };
  const Descriptor file(path);
  if (file.value() < 0 || ::fstat(file.value(), &mapping.status) != 0) refused();
  if (!S_ISREG(mapping.status.st_mode)) refuse(path, "is not a file", "give the path of a file");
  if (mapping.status.st_size == 0) refuse(path, "is empty", "download or make it again");
  mapping.bytes = static_cast<std::size_t>(mapping.status.st_size);
  mapping.address = ::mmap(nullptr, mapping.bytes, PROT_READ, MAP_PRIVATE, file.value(), 0);
  if (mapping.address == MAP_FAILED) refused();
  mapping.watched = watch(mapping.address, mapping.bytes, path);
}

MappedFile::MappedFile(MappedFile&&) noexcept = default;
MappedFile& MappedFile::operator=(MappedFile&&) noexcept = default;
MappedFile::~MappedFile() = default;

const std::filesystem::path& MappedFile::path() const { return mapping_->path; }
const std::byte* MappedFile::data() const {
  return static_cast<const std::byte*>(mapping_->address);
}
std::size_t MappedFile::bytes() const { return mapping_->bytes; }

void MappedFile::check_unchanged() const {
  struct stat now {};
  const struct stat& then = mapping_->status;
  if (::stat(mapping_->path.c_str(), &now) != 0) return;  // removed: the mapping keeps its content
  if (now.st_dev != then.st_dev || now.st_ino != then.st_ino) return;
  const bool same = now.st_size == then.st_size && now.st_mtim.tv_sec == then.st_mtim.tv_sec &&
                    now.st_mtim.tv_nsec == then.st_mtim.tv_nsec;
  if (!same) {
    refuse(mapping_->path, "was written to while it was read",
           "leave the files of a running job alone; start again once the file is whole");
  }
}

void name_reader(const std::string& who, bool whole_process) {
  const auto store = [&](Name& name) {
    const std::size_t length = std::min(who.size(), name.size() - 1);
    std::copy_n(who.begin(), length, name.begin());
    name[length] = '\0';
  };
  store(thread_name);
  if (whole_process) store(process_name);
}

}  // namespace spd
