// The targets under libFuzzer; scripts/fuzz.sh runs them. Which of them: SPD_FUZZ_TARGET. With
// SPD_FUZZ_LIST=1 their names are printed, with SPD_FUZZ_SEEDS=FOLDER the target's seeds are
// written there.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "tests/fuzz/mutator.h"
#include "tests/fuzz/target.h"

namespace {

namespace fs = std::filesystem;
using spd::fuzz::Target;

const Target* g_target = nullptr;
fs::path g_folder;

const char* setting(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value ? value : nullptr;
}

const Target* find_target() {
  const char* name = setting("SPD_FUZZ_TARGET");
  for (const Target& target : spd::fuzz::targets()) {
    if (name && std::strcmp(name, target.name) == 0) return &target;
  }
  fmt::print(stderr, "SPD_FUZZ_TARGET={}: no such target\n", name ? name : "");
  std::exit(2);
}

void write_seeds(const Target& target, const fs::path& folder) {
  fs::create_directories(folder);
  int number = 0;
  for (const std::string& seed : target.seeds()) {
    spd::fuzz::write(folder / fmt::format("seed-{}", number++), seed);
  }
}

// In memory, not on a disk.
fs::path make_folder() {
  std::string name = fs::exists("/dev/shm") ? "/dev/shm/spd-fuzz-XXXXXX" : "/tmp/spd-fuzz-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) std::abort();
  return name;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (setting("SPD_FUZZ_LIST")) {
    for (const Target& target : spd::fuzz::targets()) fmt::print("{}\n", target.name);
    std::exit(0);
  }
  g_target = find_target();
  if (const char* folder = setting("SPD_FUZZ_SEEDS")) {
    write_seeds(*g_target, folder);
    std::exit(0);
  }
  g_folder = make_folder();
  std::atexit([] {
    std::error_code ignored;
    fs::remove_all(g_folder, ignored);
  });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    spd::fuzz::accepts(*g_target, input, g_folder);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: escaped: {}\n", g_target->name, error.what());
    std::abort();
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  if (seed % 3 != 0) {
    std::string input(reinterpret_cast<const char*>(data), size);
    if (spd::fuzz::mutate(*g_target, input, seed) && !input.empty() && input.size() <= most) {
      std::memcpy(data, input.data(), input.size());
      return input.size();
    }
  }
  return LLVMFuzzerMutate(data, size, most);
}
