// The program as its user meets it: what it prints and writes, alone and under mpirun.
#include <csignal>

#include "tests/runtime/program/program_run.h"
#include "tests/runtime/tiny_model.h"

namespace spd {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;

Arguments operator+(Arguments a, const Arguments& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(json::parse(line, nullptr, false));
  }
  return lines;
}

TEST(Program, RanksUnderMpirunAreVirtualRanks) {
  const TinyModel model;
  for (const Arguments& plan : {Arguments{}, Arguments{"--drop", "attn:all", "--drop", "mlp:0"}}) {
    const Arguments generate =
        Arguments{"generate", "-m", model.path(), "--prompt", "Some words", "-n", "40"} + plan;
    json real, threads;
    run_program(3, generate, &real);
    run_program(0, generate + Arguments{"--virtual-ranks", "3"}, &threads);
    EXPECT_EQ(real["completions"][0]["ids"], threads["completions"][0]["ids"]);
    EXPECT_EQ(real["completions"][0]["ids"].size(), 40U);
    EXPECT_EQ(real["tp"], 3);
    EXPECT_FALSE(real["virtual"].get<bool>());
    EXPECT_TRUE(threads["virtual"].get<bool>());
  }
}

TEST(Program, EvalWritesWhatItPrints) {
  const TinyModel model;
  std::string text;
  for (int i = 0; i < 40; ++i) text += "All work and no play, " + std::to_string(i) + " times.\n";
  model.write("text.txt", text);
  const Arguments eval = {"eval",     "-m",     model.path(), "--text", model.path() + "/text.txt",
                          "--window", "64",     "--stride",   "48",     "--limit",
                          "5",        "--drop", "attn:1"};
  json real, threads;
  const Outcome outcome = run_program(3, eval, &real);
  run_program(0, eval + Arguments{"--virtual-ranks", "3"}, &threads);
  EXPECT_NEAR(real["nll_nats"].get<double>(), threads["nll_nats"].get<double>(), 1e-5);
  EXPECT_NEAR(real["against_baseline"]["kl_nats"].get<double>(),
              threads["against_baseline"]["kl_nats"].get<double>(), 1e-5);
  EXPECT_EQ(real["schema"], "spd.eval/1");
  EXPECT_EQ(real["windows"], 5);
  EXPECT_EQ(real["tokens"], 5 * 63);
  EXPECT_EQ(real["syncs"]["full"], 5);
  EXPECT_EQ(real["syncs"]["drop"], 1);
  EXPECT_NE(real["nll_nats"], real["baseline"]["nll_nats"]);
  EXPECT_THAT(outcome.out, HasSubstr("rise of NLL"));
}

TEST(Program, BenchTimesBothPlansAndTheBound) {
  const TinyModel model;
  const Arguments bench = {"bench",        "-m", model.path(), "--prompt-tokens", "8", "-r", "2",
                           "--gen-tokens", "5",  "--drop",     "attn:all"};
  json result;
  const Outcome outcome = run_program(2, bench, &result);
  EXPECT_EQ(result["schema"], "spd.bench/1");
  std::vector<std::string> rows;
  for (const json& row : result["results"]) {
    rows.push_back(row["test"].get<std::string>() + " " + row["variant"].get<std::string>());
    EXPECT_GT(row["tokens_per_s"]["p50"].get<double>(), 0.0);
    EXPECT_EQ(row["work_by_rank"].size(), 2U);
  }
  EXPECT_THAT(rows, testing::ElementsAre("pp8 full", "pp8 plan", "pp8 no-comm", "tg5 full",
                                         "tg5 plan", "tg5 no-comm"));
  for (const char* word : {"pp8", "tg5", "TTFT", "TPOT", "no-comm", "GB/s"}) {
    EXPECT_THAT(outcome.out, HasSubstr(word));
  }
}

TEST(Program, BenchNeedsNoWeights) {
  const TinyModel model;
  std::filesystem::remove(model.file("model.safetensors"));
  json result;
  run_program(0,
              {"bench", "-m", model.path(), "--random-weights", "--layers", "2", "-r", "1",
               "--prompt-tokens", "8", "--gen-tokens", "2", "--virtual-ranks", "2"},
              &result);
  EXPECT_EQ(result["model"]["blocks"], 2);
}

TEST(Program, StreamsASinglePrompt) {
  const TinyModel model;
  json result;
  const Outcome outcome =
      run_program(2, {"generate", "-m", model.path(), "--prompt", "Hello", "-n", "9"}, &result);
  EXPECT_TRUE(outcome.out.starts_with("Hello")) << outcome.out;
  EXPECT_TRUE(outcome.out.ends_with("\n"));
  EXPECT_EQ(outcome.out,
            "Hello" + result["completions"][0]["completion"].get<std::string>() + "\n");
  EXPECT_THAT(outcome.err, HasSubstr("5 prompt tokens, 9 new"));
}

TEST(Program, ReadsPromptsFromAFileAndFromStdin) {
  const TinyModel model;
  const std::string prompts =
      "{\"prompt\": \"One\"}\n\n"
      "{\"messages\": [{\"role\": \"user\", \"content\": \"Two\"}]}\n"
      "Three words here\n";
  model.write("prompts.txt", prompts);
  json file, stdin_json;
  const Arguments generate = {"generate", "-m", model.path(), "-n", "7", "--ignore-eos"};
  const Outcome outcome =
      run_program(2, generate + Arguments{"--prompts", model.path() + "/prompts.txt"}, &file);
  run_program(2, generate + Arguments{"--prompts", "-"}, &stdin_json, prompts);
  const auto lines = lines_of(outcome.out);
  ASSERT_EQ(lines.size(), 3U) << outcome.out;
  for (const json& line : lines) {
    const json& other = stdin_json["completions"][line["index"].get<std::size_t>()];
    EXPECT_EQ(line["ids"], other["ids"]);
    EXPECT_EQ(line["completion_tokens"], 7);
    EXPECT_EQ(line["finish"], "length");
    EXPECT_EQ(file["completions"][line["index"].get<std::size_t>()]["ids"], line["ids"]);
  }
  EXPECT_EQ(stdin_json["completions"][0]["prompt_tokens"], 3);
  EXPECT_EQ(stdin_json["completions"][2]["prompt_tokens"], 16);
}

TEST(Program, Converses) {
  const TinyModel model;
  const Outcome outcome =
      run_program(2, {"generate", "-m", model.path(), "--chat", "-n", "6", "--ignore-eos"}, nullptr,
                  "Hi\n\nAnd now?\n");
  EXPECT_EQ(std::ranges::count(outcome.err, '>'), 3);  // a prompt for each turn, and the last
  EXPECT_EQ(std::ranges::count(outcome.out, '\n'), 2) << outcome.out;
}

TEST(Program, TheSameSeedDrawsTheSame) {
  const TinyModel model;
  const auto draw = [&](const char* seed, int ranks) {
    json result;
    run_program(ranks,
                {"generate", "-m", model.path(), "--prompt", "Say", "-n", "30", "--temperature",
                 "1.5", "--top-k", "50", "--top-p", "0.95", "--ignore-eos", "--seed", seed},
                &result);
    return result["completions"][0]["ids"];
  };
  EXPECT_EQ(draw("5", 1), draw("5", 3));
  EXPECT_NE(draw("5", 2), draw("6", 2));
}

TEST(Program, ConfigHoldsOptionsAndTheCommandLineWins) {
  const TinyModel model;
  model.write("options.cfg", "model = " + model.path() +
                                 "\nprompt = From the file\nmax-new-tokens = 5\ndrop = attn:0\n"
                                 "drop = mlp:1\nignore-eos = true\n");
  json result;
  const Arguments generate = {"generate", "--config", model.path() + "/options.cfg"};
  run_program(2, generate, &result);
  EXPECT_EQ(result["completions"][0]["completion_tokens"], 5);
  EXPECT_EQ(result["completions"][0]["prompt_tokens"], 13);
  EXPECT_EQ(result["syncs"]["drop"], 2);
  run_program(2, generate + Arguments{"-n", "3", "--prompt", "Mine"}, &result);
  EXPECT_EQ(result["completions"][0]["completion_tokens"], 3);
  EXPECT_EQ(result["completions"][0]["prompt_tokens"], 4);
  model.write("options.cfg", "no-such-option = 1\n");
  expect_refusal(2, generate, {"--config", "options.cfg", "no-such-option"});
}

TEST(Program, HelpIsPrintedOnce) {
  const Outcome all = ProgramRun(3, {"--help"})();
  EXPECT_EQ(all.status, 0);
  EXPECT_THAT(all.out, HasSubstr("generate"));
  EXPECT_EQ(all.out.find("Subcommands:"), all.out.rfind("Subcommands:")) << all.out;
  for (const char* command : {"generate", "eval", "bench"}) {
    const Outcome outcome = ProgramRun(2, {command, "--help"})();
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.out, HasSubstr("xamples:"));
    for (const char* flag : {"--model", "--plan", "--drop", "--node", "--virtual-ranks", "--json",
                             "--config", "--deadline"}) {
      EXPECT_THAT(outcome.out, HasSubstr(flag)) << command;
      EXPECT_EQ(outcome.out.find("Model and plan:"), outcome.out.rfind("Model and plan:"));
    }
  }
}

TEST(Program, AUserMayTakeLongerThanTheDeadline) {
  const TinyModel model;
  for (const Arguments& input : {Arguments{"--prompts", "-"}, Arguments{"--chat"}}) {
    ProgramRun run(2,
                   Arguments{"generate", "-m", model.path(), "-n", "2", "--deadline", "2"} + input,
                   "Mine\n");
    run.type_after(4.0);
    const Outcome outcome = run();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_FALSE(outcome.out.empty());
    EXPECT_GT(outcome.seconds, 4.0);
  }
}

// A rank that is killed, and one that stands still: the others end within the deadline.
TEST(Program, ARankThatDiesEndsTheJob) {
  const TinyModel model;
  std::string prompts;
  for (int i = 0; i < 6'000; ++i) prompts += "A prompt that keeps the ranks at work\n";
  for (const int signal : {SIGKILL, SIGSTOP}) {
    ProgramRun run(3,
                   {"generate", "-m", model.path(), "--prompts", "-", "-n", "80", "--ignore-eos",
                    "--batch", "2", "--deadline", "4"},
                   prompts);
    std::chrono::steady_clock::time_point struck;
    pid_t victim = 0;
    std::thread striker([&] {
      for (int i = 0; i < 900 && text_of(run.out()).empty(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
      victim = run.process_of(1);
      struck = std::chrono::steady_clock::now();
      if (victim > 0) kill(victim, signal);
    });
    const Outcome outcome = run();
    const auto now = std::chrono::steady_clock::now();
    striker.join();
    ASSERT_GT(victim, 0) << outcome.err;
    EXPECT_GT(outcome.status, 0);
    EXPECT_NE(outcome.status, 124) << "it hung";
    EXPECT_THAT(outcome.err, HasSubstr("rank 1 "));
    // The deadline, and what a loaded machine takes to end three processes.
    EXPECT_LT(std::chrono::duration<double>(now - struck).count(), 4.0 + 8.0) << signal;
  }
}

}  // namespace
}  // namespace spd
