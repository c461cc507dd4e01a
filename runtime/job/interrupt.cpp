#include "runtime/job/interrupt.h"

#include <fmt/format.h>
#include <signal.h>
#include <time.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/job/console.h"

namespace spd {
namespace {

constexpr std::int64_t kMillion = 1'000'000;
// timeout(1) sends its signal to the process and then to its group: that is one request.
constexpr std::int64_t kOneRequestMs = 500;

volatile std::sig_atomic_t signalled = 0;
volatile std::int64_t first_ms = 0;  // written before `signalled` is, read behind it

std::int64_t now_ms() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::int64_t>(time.tv_sec) * 1000 + time.tv_nsec / kMillion;
}

void note(int signal) {
  const int error = errno;
  if (signalled == 0) {
    first_ms = now_ms();
    signalled = signal;
  } else if (now_ms() - first_ms >= kOneRequestMs) {
    struct sigaction usual = {};
    usual.sa_handler = SIG_DFL;
    sigaction(signal, &usual, nullptr);
    raise(signal);
  }
  errno = error;
}

const char* name_of(int signal) {
  switch (signal) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGHUP:
      return "SIGHUP";
    default:
      return "a signal";
  }
}

// Threads are asked together, with their process.
int rank_of(const RankComms& comms, int rank) {
  return std::strcmp(comms.world->backend(), "thread") == 0 ? -1 : rank;
}

struct Answer {
  std::optional<Interruption> why;
  std::int64_t of_root = 0;  // rank 0's `value`
};

// One collective for all that ranks have to tell each other.
Answer ask(const RankComms& comms, Stream& stream, std::int64_t value) {
  struct Word {
    std::int32_t signal;
    std::int32_t output_error;
    std::int64_t value;
  };
  const Word mine{static_cast<std::int32_t>(signalled), comms.rank == 0 ? stdout_error() : 0,
                  value};
  std::vector<Word> all(comms.ranks());
  comms.world->all_gather(&mine, all.data(), sizeof(mine), stream, {"interruption"});
  Answer answer{std::nullopt, all.front().value};
  const auto asked =
      std::find_if(all.begin(), all.end(), [](const Word& word) { return word.signal != 0; });
  if (asked != all.end()) {
    answer.why = {asked->signal, rank_of(comms, static_cast<int>(asked - all.begin())), 0};
  } else if (all.front().output_error != 0) {
    answer.why = {0, 0, all.front().output_error};
  }
  return answer;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
  struct sigaction before = {};
  if (sigaction(SIGHUP, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) {
    sigaction(SIGHUP, &action, nullptr);
  }
  for (const int signal : {SIGPIPE, SIGXFSZ}) std::signal(signal, SIG_IGN);
}

bool interrupted() { return signalled != 0; }

std::string Interruption::text() const {
  if (signal == 0) {
    return fmt::format("stdout cannot be written: {}", std::strerror(output_error));
  }
  return rank < 0 ? fmt::format("interrupted by {}", name_of(signal))
                  : fmt::format("interrupted by {} at rank {}", name_of(signal), rank);
}

std::optional<Interruption> find_interruption(const RankComms& comms, Stream& stream) {
  return ask(comms, stream, 0).why;
}

void stop(const Interruption& why, const std::string& kept, const std::string& remedy) {
  throw AgreedError(why.signal != 0 ? ErrorCode::interrupted : ErrorCode::system,
                    fmt::format("{}; {}", why.text(), kept), remedy);
}

void stop_alone_if_interrupted(const RankComms& comms, const char* during) {
  if (!interrupted()) return;
  throw Error(ErrorCode::interrupted,
              fmt::format("{} while {}; what was kept before stays as it was",
                          Interruption{signalled, rank_of(comms, comms.rank), 0}.text(), during),
              "the same command goes on from there, or begins anew");
}

std::optional<Interruption> SafePoints::behind_step() {
  return ++steps_ < of_ ? std::nullopt : behind_long_step();
}

std::optional<Interruption> SafePoints::behind_long_step() {
  using Clock = std::chrono::steady_clock;
  // Rank 0's clock decides for all how many steps make a pace.
  const std::chrono::duration<double> passed = Clock::now() - last_;
  const auto steps = static_cast<double>(std::max<std::int64_t>(steps_, 1));
  const double fitting =
      steps * std::chrono::duration<double>(pace_).count() / std::max(passed.count(), 1e-6);
  const auto next = static_cast<std::int64_t>(std::clamp(fitting, 1.0, 4.0 * steps));
  const Answer answer = ask(comms_, stream_, next);
  of_ = answer.of_root;
  steps_ = 0;
  last_ = Clock::now();
  return answer.why;
}

}  // namespace spd
