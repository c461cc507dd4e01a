// Fuzz targets: one for each thing that the program reads from outside.
//
// A target takes any bytes. What it calls may take them or throw spd::Error, and nothing else: no
// other exception, no crash, no sanitizer report, no more than 2 GB, no more than 10 s, and where
// the target knows what must come out (an oracle), nothing else than that.
//
// The same targets run under libFuzzer (fuzz_main.cpp, scripts/fuzz.sh) and, on their seeds and on
// inputs that once were findings (regressions/TARGET/), as an ordinary test (fuzz_test.cpp).
#pragma once

#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace spd::fuzz {

/// Cuts an input into files, for targets that read several.
inline constexpr char kPartEnd = '\f';

struct Target {
  const char* name;
  /// `folder`: for files, the target's own.
  void (*run)(std::string_view input, const std::filesystem::path& folder);
  /// Inputs to begin with; the first of them is taken, not refused.
  std::vector<std::string> (*seeds)();
  /// Words that mean something here, separated by blanks; for the mutator.
  const char* words = "";
  std::size_t parts = 1;  ///< files that an input holds
};

/// Without it GoogleTest prints the bytes of the struct into the tests' names.
inline void PrintTo(const Target& target, std::ostream* out) { *out << target.name; }

/// By layer.
std::vector<Target> model_targets();
std::vector<Target> tokenizer_targets();
std::vector<Target> plan_targets();
std::vector<Target> runtime_targets();
/// All of them.
const std::vector<Target>& targets();

/// Runs it. False where the input was refused by an Error; lets everything else out.
bool accepts(const Target& target, std::string_view input, const std::filesystem::path& folder);

/// Throws std::logic_error: an oracle was contradicted, which is a finding.
[[noreturn]] void contradict(const std::string& what);

/// Reads every byte, so that a sanitizer sees one that must not be read.
void touch(std::string_view bytes);

/// `count` parts of an input; missing ones are empty, the last one takes the rest.
std::vector<std::string> parts_of(std::string_view input, std::size_t count);
std::string join_parts(const std::vector<std::string>& parts);

/// A file of tests/fixtures, and the head of one.
std::string fixture(const std::string& name);
std::string fixture_head(const std::string& name, std::size_t bytes);
/// A file of the source tree.
std::string source_file(const std::string& name);
/// The file, which is then removed.
std::string read_back(const std::filesystem::path& file);

void write(const std::filesystem::path& file, std::string_view bytes);
/// Writes the file, or removes it where there is nothing to write.
void write_or_remove(const std::filesystem::path& file, std::string_view bytes);

}  // namespace spd::fuzz
