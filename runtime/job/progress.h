// A progress line on a terminal: done, total, time left. Silent elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace spd {

class Progress {
 public:
  /// `shown`: only one rank shows. Prints to stderr, and only where that is a terminal (or where
  /// SPD_PROGRESS=1 says that a launcher forwards it to one).
  Progress(std::string what, std::int64_t total, bool shown);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();
  /// `note` goes behind the bar, e.g. a figure so far.
  void update(std::int64_t done, const std::string& note = "");

 private:
  std::string what_;
  std::int64_t total_;
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace spd
