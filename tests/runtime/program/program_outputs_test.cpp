// Whatever becomes of what it writes, the program says so, and before the work where it can.
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/runtime/program/program_run.h"
#include "tests/runtime/tiny_model.h"

namespace spd {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Arguments = std::vector<std::string>;
namespace fs = std::filesystem;

class Outputs : public testing::Test {
 protected:
  Outputs() {
    std::string text;
    for (int i = 0; i < 1200; ++i) text += static_cast<char>('a' + i * i % 23 % 7);
    model_.write("text.txt", text);
  }

  std::string at(const std::string& name) const { return model_.path() + "/" + name; }
  Arguments command(const char* name, const Arguments& more) const {
    Arguments all = {name, "-m", model_.path(), "--virtual-ranks", "2"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Arguments generate(const Arguments& more) const {
    Arguments all = command("generate", {"--prompt", "Words", "-n", "3"});
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Arguments eval() const {
    return command("eval", {"--text", at("text.txt"), "--window", "48", "--limit", "3"});
  }
  // A device of the test's own; false where none can be made.
  bool make_device(const std::string& name, unsigned minor) const {
    return ::mknod(at(name).c_str(), S_IFCHR | 0666, ::makedev(1, minor)) == 0 &&
           std::ofstream(at(name)).is_open();
  }

  TinyModel model_;
};

TEST_F(Outputs, StdoutThatCannotBeWrittenIsAnError) {
  const std::string full = make_device("full", 7) ? at("full") : "/dev/full";
  for (const Arguments& arguments :
       {generate({}), generate({"--format", "jsonl"}), eval(), Arguments{"--help"},
        Arguments{"eval", "--help", "--virtual-ranks", "1"}}) {
    for (const auto& [where, reason] : {std::pair{">>" + full, "No space left on device"},
                                        {std::string(">&-"), "Bad file"},
                                        {std::string("| (exec <&-; sleep 0)"), "Broken pipe"}}) {
      SCOPED_TRACE(arguments.front() + " " + where);
      if (where.starts_with("|") && arguments.front() != "eval") continue;
      ProgramRun run(0, arguments);
      run.print_to(where);
      if (arguments.front() == "--help" || arguments.at(1) == "--help") run.write_json_to({});
      const Outcome outcome = run();
      // A pipeline's status is its last command's.
      EXPECT_EQ(outcome.status, where.starts_with("|") ? 0 : 4) << outcome.err;
      EXPECT_THAT(outcome.err, HasSubstr(std::string("stdout cannot be written: ") + reason));
    }
  }
}

TEST_F(Outputs, ResultsAreKeptWhereStdoutIsNot) {
  const std::string full = make_device("full", 7) ? at("full") : "/dev/full";
  ProgramRun run(0, eval());
  run.print_to(">>" + full);
  EXPECT_EQ(run().status, 4);
  EXPECT_EQ(json::parse(text_of(run.json())).at("windows"), 3);
}

// With stdout closed, the first file that is opened would get its number, and all that is printed.
TEST_F(Outputs, AClosedStdoutDoesNotEndUpInAnotherFile) {
  ProgramRun run(0, eval());
  run.print_to(">&-");
  run();
  EXPECT_FALSE(fs::exists(run.json()));
}

TEST_F(Outputs, JsonLinesStopWhereStdoutIsFull) {
  const std::string full = make_device("full", 7) ? at("full") : "/dev/full";
  std::string prompts;
  for (int i = 0; i < 50'000; ++i) prompts += "Words\n";
  ProgramRun run(0, command("generate", {"--prompts", "-", "-n", "20", "--ignore-eos"}), prompts);
  run.print_to(">>" + full);
  const Outcome outcome = run();
  EXPECT_EQ(outcome.status, 4) << outcome.err;
  EXPECT_THAT(outcome.message(), HasSubstr("No space left on device"));
  EXPECT_THAT(outcome.message(), HasSubstr("of 50000 completions"));
  EXPECT_LT(json::parse(text_of(run.json())).at("completions").size(), 50'001U);
  EXPECT_LT(outcome.seconds, 40.0) << "it went on to the end";
}

TEST_F(Outputs, AreRefusedBeforeTheWork) {
  model_.write("file", "");
  fs::create_directory(at("folder"));
  // Work that would be refused itself, but later.
  const std::string absent = at("absent.txt");
  const std::string bad = at("file/x");
  const auto with_text = [&](const char* name, const Arguments& more) {
    Arguments all = {name, "-m", model_.path(), "--text", absent};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  struct Case {
    Arguments arguments;
    std::string flag;
    bool json = false;
  };
  const Case cases[] = {
      {{"generate", "-m", at("nowhere"), "--prompt", "x"}, "--json", true},
      {{"bench", "-m", at("nowhere")}, "--json", true},
      {{"topo"}, "--json", true},
      {with_text("eval", {}), "--json", true},
      {with_text("sensitivity", {}), "--json", true},
      {with_text("sensitivity", {"--plot", bad}), "--plot"},
      {with_text("repair", {"--drop", "attn:all", "--out", bad}), "--out"},
      {with_text("distill", {"--drop", "attn:all", "--out", bad}), "--out"},
      {with_text("plan",
                 {"--topology", absent, "--sensitivity", absent, "--max-loss", "1%", "--out", bad}),
       "--out"},
      {with_text("plan", {"--topology", absent, "--sensitivity", absent, "--max-loss", "1%",
                          "--plot", bad}),
       "--plot"},
      {{"eval", "-m", at("nowhere"), "--tasks", "piqa", "--data", absent, "--items", bad},
       "--items"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.arguments.front() + " " + one.flag);
    Arguments arguments = one.arguments;
    arguments.insert(arguments.end(), {"--virtual-ranks", "2"});
    ProgramRun run(0, arguments);
    if (one.json) run.write_json_to(bad);
    const Outcome outcome = run();
    EXPECT_EQ(outcome.status, 4) << outcome.err;
    EXPECT_THAT(outcome.message(), HasSubstr(one.flag + " " + bad));
    EXPECT_THAT(outcome.message(), HasSubstr("Not a directory"));
  }
}

TEST_F(Outputs, AreNoInputs) {
  model_.write("s.json", "precious");
  fs::create_symlink("s.json", at("link.json"));
  const std::string text = at("text.txt");
  const std::string config = at("config.json");
  const std::string topology = at("t.json");
  struct Case {
    Arguments arguments;
    std::string input;
    std::string output;
    std::string json = "";
  };
  const Case cases[] = {
      {command("generate", {"--prompts", text}), "--prompts " + text, "--json " + text, text},
      {command("generate", {"--prompt", "x"}), "--model " + config, "--json " + config, config},
      {{"tokenize", "-m", model_.path(), "--prompts", text}, "--prompts", "--json", text},
      {command("eval", {"--text", text}), "--text", "--json", text},
      {command("eval", {"--tasks", "all", "--data", at(""), "--items", config}), "--model",
       "--items"},
      {command("sensitivity", {"--text", text, "--plot", text}), "--text", "--plot"},
      {command("sensitivity", {"--text", text, "--plot", at("s.json")}), "--json", "--plot",
       at("link.json")},
      {command("repair", {"--text", text, "--out", text}), "--text", "--out"},
      {command("distill", {"--text", text, "--merge", at("s.json"), "--out", at("s.json")}),
       "--merge", "--out"},
      {command("bench", {"--against", at("s.json")}), "--against", "--json", at("link.json")},
      {command("plan", {"--topology", topology, "--sensitivity", at("s.json"), "--max-loss", "1%",
                        "--out", at("link.json")}),
       "--sensitivity", "--out " + at("link.json")},
      {{"topo", "--virtual-ranks", "2", "--config", at("c.ini")},
       "--config",
       "--json",
       at("c.ini")},
  };
  model_.write("c.ini", "seconds = 1\n");
  const auto contents = [&] {
    return model_.read("text.txt") + model_.read("s.json") + model_.read("config.json") +
           model_.read("c.ini");
  };
  const std::string before = contents();
  for (const Case& one : cases) {
    SCOPED_TRACE(one.arguments.front() + " " + one.output);
    ProgramRun run(0, one.arguments);
    run.write_json_to(one.json);
    const Outcome outcome = run();
    EXPECT_EQ(outcome.status, 2) << outcome.err;
    EXPECT_THAT(outcome.message(), HasSubstr(one.input));
    EXPECT_THAT(outcome.message(), HasSubstr(one.output));
    EXPECT_THAT(outcome.message(), HasSubstr("are one file"));
    EXPECT_EQ(contents(), before);
  }
}

TEST_F(Outputs, AreNotWhatStdoutGoesTo) {
  ProgramRun run(0, eval());
  run.print_to(">" + at("log"));
  run.write_json_to(at("log"));
  const Outcome outcome = run();
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.message(), HasSubstr("stdout"));
  ProgramRun appended(0, eval());
  appended.print_to(">>" + at("text.txt"));
  EXPECT_EQ(appended().status, 2);
  EXPECT_EQ(model_.read("text.txt").size(), 1200U);
}

TEST_F(Outputs, MayHaveStdoutAlone) {
  for (const int ranks : {0, 2}) {
    Arguments arguments = eval();
    if (ranks > 0)
      arguments = {"eval",     "-m", model_.path(), "--text", at("text.txt"),
                   "--window", "48", "--limit",     "3"};
    ProgramRun run(ranks, arguments);
    run.write_json_to("-");
    const Outcome outcome = run();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(json::parse(outcome.out).at("windows"), 3);
    EXPECT_THAT(outcome.err, HasSubstr("perplexity"));
  }
  ProgramRun lines(0, generate({"--format", "jsonl"}));
  lines.write_json_to("-");
  EXPECT_EQ(json::parse(lines().out).at("completions").size(), 1U);
  const std::string full = make_device("full", 7) ? at("full") : "/dev/full";
  ProgramRun run(0, eval());
  run.write_json_to("-");
  run.print_to(">>" + full);
  const Outcome outcome = run();
  EXPECT_EQ(outcome.status, 4);
  EXPECT_THAT(outcome.message(), HasSubstr("--json -: cannot be written: No space left"));
  EXPECT_FALSE(fs::exists("-"));
  expect_refusal(0,
                 command("repair", {"--text", at("text.txt"), "--drop", "attn:all", "--out", "-"}),
                 {"--out -: is no regular file"});
}

TEST_F(Outputs, ATextMayComeFromStdin) {
  json file;
  json piped;
  run_program(0, eval(), &file);
  run_program(0, command("eval", {"--text", "-", "--window", "48", "--limit", "3"}), &piped,
              model_.read("text.txt"));
  EXPECT_EQ(piped.at("nll_nats"), file.at("nll_nats"));
}

TEST_F(Outputs, MakeTheirFoldersAndGoThroughLinks) {
  fs::create_directory(at("far"));
  model_.write("far/target", "old");
  fs::create_symlink("far/target", at("link"));
  for (const char* name : {"new/folder/r.json", "link"}) {
    ProgramRun run(2, {"generate", "-m", model_.path(), "--prompt", "Words", "-n", "3"});
    run.write_json_to(at(name));
    EXPECT_EQ(run().status, 0);
  }
  EXPECT_EQ(json::parse(model_.read("new/folder/r.json")).at("completions").size(), 1U);
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_EQ(json::parse(model_.read("far/target")).at("completions").size(), 1U);
}

TEST_F(Outputs, AreWrittenThroughDevices) {
  if (!make_device("full", 7)) GTEST_SKIP() << "devices can be made by root only";
  ProgramRun run(0, generate({}));
  run.write_json_to(at("full"));
  const Outcome outcome = run();
  EXPECT_EQ(outcome.status, 4);
  EXPECT_THAT(outcome.message(), HasSubstr("No space left on device"));
  EXPECT_TRUE(fs::is_character_file(at("full")));
}

TEST_F(Outputs, GoBehindWhatIsPrinted) {
  ProgramRun run(0, eval());
  run.write_json_to("/dev/stdout");
  const Outcome outcome = run();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("perplexity"));
  const std::size_t begin = outcome.out.find("{\n");
  ASSERT_NE(begin, std::string::npos) << outcome.out;
  EXPECT_EQ(json::parse(outcome.out.substr(begin)).at("windows"), 3);
}

TEST_F(Outputs, HaveNamesOfAnyBytes) {
  const std::string text = at("t\xff.txt");
  fs::copy(at("text.txt"), text);
  ProgramRun run(0, command("eval", {"--text", text, "--window", "48"}));
  run.write_json_to(at("e\xff.json"));
  EXPECT_EQ(run().status, 0);
  EXPECT_TRUE(json::parse(text_of(at("e\xff.json"))).contains("nll_nats"));

  const std::string plan = at("p\xff.json");
  const Arguments work = {"--text", text, "--window", "48", "--windows", "8", "--held-out", "2"};
  Arguments repair = command("repair", {"--drop", "attn:all", "--out", plan});
  repair.insert(repair.end(), work.begin(), work.end());
  run_program(0, repair);
  run_program(0, command("eval", {"--text", text, "--window", "48", "--plan", plan}));
  // Twice: what was kept under such a name is found again.
  for (int i = 0; i < 2; ++i) {
    ProgramRun again(0, command("sensitivity", {"--text", text, "--window", "48", "--limit", "2"}));
    again.write_json_to(at("s\xff.json"));
    const Outcome outcome = again();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
  }
}

TEST_F(Outputs, OfTwoJobsTheSecondIsTold) {
  const std::string out = at("p.json");
  const Arguments distill = {"distill",    "-m",       model_.path(), "--text",   at("text.txt"),
                             "--drop",     "attn:all", "--window",    "48",       "--tokens",
                             "768",        "--epochs", "0",           "--logits", "200",
                             "--held-out", "192",      "--out",       out,        "--virtual-ranks",
                             "2"};
  ProgramRun first(0, distill);
  first.show_progress();
  Outcome outcome;
  std::thread running([&] { outcome = first(); });
  for (int i = 0; i < 600 && text_of(first.err()).find("windows") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  expect_refusal(0, distill, {"--out", "p.json", "another job"});
  running.join();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

}  // namespace
}  // namespace spd
