// Asked to stop, the program stops soon, keeps what is done, and says how to go on.
#include <sys/stat.h>

#include <csignal>

#include "tests/runtime/program/program_run.h"
#include "tests/runtime/tiny_model.h"

namespace spd {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

constexpr int kInterrupted = 75;

class Signals : public testing::Test {
 protected:
  Signals() {
    std::string text;
    for (int i = 0; i < 200'000; ++i) text += static_cast<char>('a' + i * i % 23 % 7);
    model_.write("text.txt", text);
    for (int i = 0; i < 20'000; ++i) prompts_ += "A prompt that keeps the ranks at work\n";
    model_.write("prompts.txt", prompts_);
  }
  std::string at(const std::string& name) const { return model_.path() + "/" + name; }

  struct Stopped {
    Outcome outcome;
    double after_s = 0.0;  // from the signal to the end
  };
  /// Runs it, sends the signal to a rank once `sign` shows, and waits for the end.
  static Stopped stop(ProgramRun& run, const std::string& sign, int rank, int signal) {
    run.show_progress();
    Stopped stopped;
    std::thread running([&] { stopped.outcome = run(); });
    const auto seen = [&] {
      return text_of(run.err()).find(sign) != std::string::npos ||
             text_of(run.out()).find(sign) != std::string::npos;
    };
    for (int i = 0; i < 1200 && !seen(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    const pid_t process = run.process_of(rank);
    EXPECT_GT(process, 0);
    const auto begin = std::chrono::steady_clock::now();
    if (process > 0) kill(process, signal);
    running.join();
    stopped.after_s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return stopped;
  }

  TinyModel model_;
  std::string prompts_;
};

TEST_F(Signals, EndEveryCommandOnEveryRank) {
  const auto with_text = [&](const char* name, const Arguments& more) {
    Arguments all = {name, "-m", model_.path(), "--text", at("text.txt"), "--window", "48"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  struct Case {
    Arguments arguments;
    std::string sign;
    int signal;
    int rank;
    std::string kept;
  };
  const Case cases[] = {
      {{"generate", "-m", model_.path(), "--prompts", at("prompts.txt"), "-n", "60"},
       "\"ids\"",
       SIGTERM,
       1,
       "completions, in "},
      {with_text("eval", {"--stride", "1"}), "windows [", SIGUSR1, 1, "windows, in "},
      {with_text("sensitivity", {"--limit", "0"}), "block passes [", SIGINT, 1,
       "what was measured"},
      {{"bench", "-m", model_.path(), "-r", "100000", "--prompt-tokens", "64", "--gen-tokens",
        "32"},
       "repetitions [",
       SIGUSR1,
       0,
       "repetitions, in "},
      {{"topo", "--seconds", "300"}, "all-reduces [", SIGTERM, 1, "nothing was kept"},
      {with_text("repair", {"--drop", "attn:all", "--windows", "4000", "--out", at("r.json")}),
       "blocks [", SIGTERM, 1, "r.json.partial"},
      {with_text("distill", {"--drop", "attn:all", "--tokens", "150000", "--epochs", "50", "--out",
                             at("d.json")}),
       "windows [", SIGUSR1, 1, "no block was done yet"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.arguments.front());
    ProgramRun run(2, one.arguments);
    const Stopped stopped = stop(run, one.sign, one.rank, one.signal);
    EXPECT_EQ(stopped.outcome.status, kInterrupted) << stopped.outcome.err;
    const std::string name = one.signal == SIGTERM  ? "SIGTERM"
                             : one.signal == SIGINT ? "SIGINT"
                                                    : "SIGUSR1";
    EXPECT_THAT(stopped.outcome.message(),
                HasSubstr(fmt::format("interrupted by {} at rank {}; ", name, one.rank)));
    EXPECT_THAT(stopped.outcome.message(), HasSubstr(one.kept));
    EXPECT_THAT(stopped.outcome.message(), HasSubstr("\n  remedy: "));
    // 2 s, and what a loaded machine takes to end two processes.
    EXPECT_LT(stopped.after_s, 2.0 + 8.0);
    if (one.kept.find(", in ") == std::string::npos) continue;
    const json kept = json::parse(text_of(run.json()), nullptr, false);
    ASSERT_TRUE(kept.is_object()) << "nothing was kept";
    EXPECT_FALSE(kept.value("complete", false));
  }
}

TEST_F(Signals, EndTheWaitingForInput) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  for (const Arguments& input : {Arguments{"--chat"}, Arguments{"--prompts", at("fifo")}}) {
    Arguments arguments = {"generate", "-m", model_.path()};
    arguments.insert(arguments.end(), input.begin(), input.end());
    ProgramRun run(2, arguments, "Mine\n");
    run.type_after(15.0);
    Outcome outcome;
    std::thread running([&] { outcome = run(); });
    // Nothing tells that it waits but that it goes on doing so.
    std::this_thread::sleep_for(std::chrono::seconds(5));
    const pid_t process = run.process_of(1);
    EXPECT_GT(process, 0);
    if (process > 0) kill(process, SIGTERM);
    running.join();
    EXPECT_EQ(outcome.status, kInterrupted) << outcome.err;
    EXPECT_THAT(outcome.message(), HasSubstr("interrupted by SIGTERM at rank 1"));
  }
}

TEST_F(Signals, ASecondOneEndsAtOnce) {
  ProgramRun run(2, {"topo", "--seconds", "300"});
  run.show_progress();
  Outcome outcome;
  std::thread running([&] { outcome = run(); });
  for (int i = 0; i < 1200 && text_of(run.err()).find("all-reduces [") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  const pid_t stands_still = run.process_of(1);
  const pid_t process = run.process_of(0);
  ASSERT_GT(process, 0);
  kill(stands_still, SIGSTOP);  // so that the first one cannot be agreed upon
  kill(process, SIGTERM);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const auto begin = std::chrono::steady_clock::now();
  kill(process, SIGTERM);
  running.join();
  EXPECT_NE(outcome.status, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
}

}  // namespace
}  // namespace spd
