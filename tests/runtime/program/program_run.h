// Runs the program itself, alone or under mpirun, and keeps what it said.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/model/temp_dir.h"

namespace spd {

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else {
      result += c;
    }
  }
  return result + "'";
}

struct Outcome {
  int status = -1;  ///< of the program, or of mpirun; 124: it hung and was ended
  std::string out;
  std::string err;
  double seconds = 0.0;

  /// The program's own words, without mpirun's.
  std::string message() const {
    const std::size_t begin = err.find("spd: ");
    if (begin == std::string::npos) return err;
    return err.substr(begin, err.find("\n----", begin) - begin);
  }
};

/// A run in a folder of its own, in which `json` names a file for --json.
class ProgramRun {
 public:
  /// `ranks` 0: without mpirun.
  explicit ProgramRun(int ranks, std::vector<std::string> arguments, std::string input = "")
      : ranks_(ranks), arguments_(std::move(arguments)), input_(std::move(input)) {}

  /// A user who takes so long to type.
  void type_after(double seconds) { type_after_s_ = seconds; }

  /// As on a terminal, so that a test can wait until the run has come to some point.
  void show_progress() { shows_progress_ = true; }

  /// Something else than a file for stdout, in the shell's words: ">&-".
  void print_to(const std::string& where) { prints_to_ = where; }

  /// Where --json goes instead of json(); empty: it is not given.
  void write_json_to(const std::optional<std::string>& file) { json_ = file.value_or(""); }

  std::filesystem::path json() const { return dir_.path() / "result.json"; }
  std::filesystem::path out() const { return dir_.path() / "out"; }
  std::filesystem::path err() const { return dir_.path() / "err"; }

  Outcome operator()() {
    dir_.write("in", input_);
    // A mark in the environment, by which a rank's process is found.
    std::string command = fmt::format("SPD_TEST_RUN={} {}timeout -k 5 100 ", quoted(dir_.path()),
                                      shows_progress_ ? "SPD_PROGRESS=1 " : "");
    if (ranks_ > 0) command += fmt::format("{} -n {} ", SPD_MPIRUN, ranks_);
    command += SPD_PROGRAM;
    for (const std::string& argument : arguments_) command += fmt::format(" {}", quoted(argument));
    const std::string json_file = json_.value_or(json());
    if (!json_file.empty()) command += fmt::format(" --json {}", quoted(json_file));
    return shell(command);
  }

  /// The process of a rank of this run, 0 if there is none (yet).
  pid_t process_of(int rank) const {
    const std::string mark = "SPD_TEST_RUN=" + dir_.path().string() + '\0';
    const std::string number = "OMPI_COMM_WORLD_RANK=" + std::to_string(rank) + '\0';
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string name = entry.path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      const std::string environment = text_of(entry.path() / "environ");
      if (environment.find(mark) == std::string::npos) continue;
      if (environment.find(number) != std::string::npos) return std::stoi(name);
    }
    return 0;
  }

 private:
  Outcome shell(const std::string& command) {
    const auto begin = std::chrono::steady_clock::now();
    const auto file = [&](const char* name) { return quoted(dir_.path() / name); };
    const std::string typing =
        type_after_s_ > 0 ? fmt::format("(sleep {}; cat {}) | ", type_after_s_, file("in")) : "";
    const int status = std::system(fmt::format("{}{} {} 2>{} {}", typing, command,
                                               typing.empty() ? "<" + file("in") : "", file("err"),
                                               prints_to_.empty() ? ">" + file("out") : prints_to_)
                                       .c_str());
    Outcome outcome;
    outcome.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    outcome.out = text_of(out());
    outcome.err = text_of(err());
    return outcome;
  }

  int ranks_;
  std::vector<std::string> arguments_;
  std::string input_;
  double type_after_s_ = 0.0;
  bool shows_progress_ = false;
  std::string prints_to_;
  std::optional<std::string> json_;
  TempDir dir_;
};

/// Runs it and expects success.
inline Outcome run_program(int ranks, const std::vector<std::string>& arguments,
                           nlohmann::json* json = nullptr, const std::string& input = "") {
  ProgramRun run(ranks, arguments, input);
  Outcome outcome = run();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  if (json) *json = nlohmann::json::parse(text_of(run.json()), nullptr, false);
  return outcome;
}

/// Runs it and expects one message (and not one a rank) that has all `parts` and a remedy, no
/// stack trace, and a status other than zero.
inline void expect_refusal(int ranks, const std::vector<std::string>& arguments,
                           const std::vector<std::string>& parts, const std::string& input = "") {
  const Outcome outcome = ProgramRun(ranks, arguments, input)();
  EXPECT_THAT(outcome.status, testing::AnyOf(2, 3, 4)) << outcome.err;
  for (const std::string& part : parts) EXPECT_THAT(outcome.message(), testing::HasSubstr(part));
  EXPECT_THAT(outcome.message(), testing::HasSubstr("\n  remedy: "));
  const std::size_t first = outcome.err.find("spd: ");
  EXPECT_EQ(outcome.err.find("spd: ", first + 1), std::string::npos) << outcome.err;
  for (const char* trace : {"Backtrace", "backtrace", "[ 0]", "Signal:", "terminate called"}) {
    EXPECT_THAT(outcome.err, testing::Not(testing::HasSubstr(trace)));
  }
  EXPECT_LT(outcome.seconds, 60.0);
}

}  // namespace spd
