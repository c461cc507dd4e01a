// Command lines and files of options: values, and what is said of wrong ones.
#include "runtime/commands/option_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <thread>

#include "runtime/commands/command.h"
#include "tests/model/temp_dir.h"

namespace spd {
namespace {

struct AllOptions {
  CommonOptions common;
  StartOptions start;

  void parse(const std::vector<std::string>& arguments) {
    po::options_description all;
    all.add(common.describe()).add(start.describe());
    parse_arguments(all, arguments, "usage", "examples");
  }
};

void expect_usage_error(const std::vector<std::string>& arguments,
                        const std::vector<std::string>& says) {
  try {
    AllOptions().parse(arguments);
    ADD_FAILURE() << testing::PrintToString(arguments);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
    for (const std::string& part : says) EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

TEST(OptionValues, AreTakenFromTheCommandLine) {
  AllOptions options;
  options.parse({"-m", "a folder/\"model\"", "--drop", "attn:1", "--drop", "attn:2", "-t", "3",
                 "--pin", "0", "--deadline", "1.5", "--virtual-ranks", "2", "--flat"});
  EXPECT_EQ(options.common.engine.model, "a folder/\"model\"");
  EXPECT_THAT(options.common.engine.drop, testing::ElementsAre("attn:1", "attn:2"));
  EXPECT_EQ(options.common.engine.threads, 3);
  EXPECT_FALSE(options.common.engine.pin);
  EXPECT_EQ(options.start.deadline_s, 1.5);
  EXPECT_TRUE(options.start.launch.backends.flat);
}

TEST(OptionValues, AreRefusedByNameAndValue) {
  struct Case {
    std::vector<std::string> arguments;
    std::vector<std::string> says;
  };
  for (const auto& [arguments, says] : std::vector<Case>{
           {{}, {"--model is required"}},
           {{"--x%original_token%"}, {"unknown option --x%original_token%"}},
           {{"--%canonical_option%=3"}, {"unknown option"}},
           {{"-m", "d", "--threads", "%value%"}, {"--threads %value% is not an integer"}},
           {{"-m", "d", "-t", "%original_token%"}, {"%original_token% is not an integer"}},
           {{"-m", "d", "--thread5", "3"}, {"unknown option --thread5", "\"--threads\""}},
           {{"-m", "d", "--dorp", "attn:1"}, {"--dorp", "did you mean \"--drop\""}},
           {{"-m", "d", "--virtual", "2"}, {"--virtual may mean", "--virtual-nodes"}},
           {{"-m", "d", "--threads", "99999999999999999999"}, {"99999999999999999999", "integer"}},
           {{"-m", "d", "--threads", "3x"}, {"--threads 3x"}},
           {{"-m", "d", "--threads", "2.5"}, {"--threads 2.5"}},
           {{"-m", "d", "--threads", "-1"}, {"--threads -1"}},
           {{"-m", "d", "--threads", "1000000"}, {"--threads 1000000", "4096"}},
           {{"-m", "d", "--threads", ""}, {"--threads"}},
           {{"-m", "d", "--json", ""}, {"--json is given nothing"}},
           {{"-m", ""}, {"--model is given nothing"}},
           {{"-m", "d", "--plan="}, {"--plan"}},
           {{"-m", "d", "--drop", "attn:1", "--drop", ""}, {"--drop is given nothing"}},
           {{"-m", "d", "--nic", ""}, {"--nic is given nothing"}},
           {{"-m", "d", "--log-level", "debug"}, {"unknown option --log-level"}},
           {{"-m", "d", "--rails", "0"}, {"--rails 0 is less than 1"}},
           {{"-m", "d", "--rails", "-1"}, {"--rails -1"}},
           {{"-m", "d", "--batch-tokens", "9223372036854775807"}, {"--batch-tokens", "range"}},
           {{"-m", "d", "--batch-tokens", "0"}, {"--batch-tokens 0"}},
           {{"-m", "d", "--deadline", "nan"}, {"--deadline is not a finite number"}},
           {{"-m", "d", "--deadline", "1e999"}, {"--deadline"}},
           {{"-m", "d", "--pin", "maybe"}, {"--pin maybe", "0 or 1"}},
           {{"-m", "d", "--flat=yes"}, {"--flat"}},
           {{"-m", "d", "--threads", "1", "--threads", "2"}, {"--threads is given more than once"}},
           {{"-m", "d", "stray%value%"}, {"\"stray%value%\" belongs to no option"}},
           {{"-m", "d", "--plan"}, {"--plan needs a value"}},
           {{"-m"}, {"needs a value"}}}) {
    expect_usage_error(arguments, says);
  }
  for (const char* ranks : {"%value%", "100000", "0", "99999999999", "2.9"}) {
    try {
      parse_start_options({"--virtual-ranks", ranks});
      ADD_FAILURE() << ranks;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_THAT(error.what(), testing::HasSubstr(std::string("--virtual-ranks ") + ranks));
    }
  }
}

TEST(OptionValues, OfMessagesAreCheckedForVirtualRanks) {
  for (const auto& [arguments, says] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--rails", "9"}, "--rails 9: the smallest node has 2 ranks"},
           {{"--rails", "2", "--virtual-nodes", "2"}, "--rails 2: the smallest node has 1 rank"},
           {{"--nic", "nope"}, "--nic nope: this host has"},
           {{"--inter", "tcp"}, "--inter tcp"},
           {{"--virtual-nodes", "3"}, "2 rank(s) on 3 node(s)"}}) {
    std::vector<std::string> all = {"--virtual-ranks", "2"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    try {
      parse_start_options(all);
      ADD_FAILURE() << says;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_THAT(error.what(), testing::HasSubstr(says));
    }
  }
  EXPECT_THAT(parse_start_options({"--virtual-ranks", "2", "--rails", "2", "--intra", "shm",
                                   "--inter", "ucx", "--algo", "ring", "--flat"})
                  .unused,
              testing::ElementsAre("--intra", "--inter", "--algo", "--rails", "--flat"));
  EXPECT_THAT(parse_start_options({"--virtual-ranks", "2", "--intra", "thread"}).unused,
              testing::IsEmpty());
  EXPECT_THAT(parse_start_options({"--rails", "9"}).unused, testing::IsEmpty());
}

TEST(OptionFile, GivesWhatTheCommandLineLeavesOpen) {
  const TempDir dir;
  const auto file = dir.write(
      "c.ini",
      "\xEF\xBB\xBF# comment\r\n\r\nthreads = 3\r\n"
      "json = results#1 .json\nmodel = from file\ndrop = attn:1\ndrop=attn:2\nflat = true\n");
  AllOptions options;
  options.parse({"-m", "mine", "--config", file.string()});
  EXPECT_EQ(options.common.engine.model, "mine");
  EXPECT_EQ(options.common.engine.threads, 3);
  EXPECT_EQ(options.common.json, "results#1 .json");
  EXPECT_THAT(options.common.engine.drop, testing::ElementsAre("attn:1", "attn:2"));
  EXPECT_TRUE(options.start.launch.backends.flat);
}

TEST(OptionFile, SaysHowRanksAreStarted) {
  const TempDir dir;
  const auto file = dir.write("c.ini", "virtual-ranks = 3\nvirtual-nodes = 3\nprompt = x\n");
  const StartOptions start = parse_start_options({"--config", file.string()});
  EXPECT_EQ(start.launch.virtual_ranks, 3);
  EXPECT_EQ(start.launch.virtual_nodes, 3);
  EXPECT_EQ(
      parse_start_options({"--config", file.string(), "--virtual-ranks", "6"}).launch.virtual_ranks,
      6);
  const auto bad = dir.write("bad.ini", "deadline = 0\n");
  EXPECT_THROW(parse_start_options({"--config", bad.string()}), Error);
}

// Options are stored for the start, and again by every virtual rank's subcommand.
TEST(OptionFile, MayBeAPipeWhichIsReadOnce) {
  const TempDir dir;
  const auto pipe = dir.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(pipe) << "virtual-ranks = 3\nthreads = 5\n"; });
  EXPECT_EQ(parse_start_options({"--config", pipe.string()}).launch.virtual_ranks, 3);
  writer.join();
  AllOptions options;
  options.parse({"-m", "d", "--config", pipe.string()});
  EXPECT_EQ(options.common.engine.threads, 5);
}

TEST(OptionFile, IsRefusedByFileAndLine) {
  const TempDir dir;
  struct Case {
    std::string content;
    std::vector<std::string> says;
  };
  for (const auto& [content, says] : std::vector<Case>{
           {"\nx%original_token% = 1\n", {"line 2", "unknown option \"x%original_token%\""}},
           {"thread = 1", {"line 1", "did you mean \"threads\""}},
           {"threads = %value%", {"line 1", "threads %value%"}},
           {"threads = 1\nthreads = 2", {"line 2", "line 1 already"}},
           {"threads = 99999999999", {"line 1", "threads 99999999999"}},
           {"deadline = inf", {"line 1", "finite"}},
           {"threads = 1\nconfig = other.ini", {"line 2", "\"config\"", "command line"}},
           {"help = true", {"line 1", "\"help\"", "command line"}},
           {"json =", {"line 1", "--json is given nothing"}},
           {"flat =", {"line 1", "--flat is given nothing"}},
           {"-h = true", {"line 1"}},
           {"-m = d", {"line 1"}},
           {"threads", {"line 1", "name = value"}},
           {"= 1", {"line 1", "name = value"}},
           {"[section]\n", {"line 1"}},
           {"\x1b[2J = 1", {"line 1", "unknown option"}},
           {std::string(2 << 20, '#'), {"larger than"}}}) {
    const auto file = dir.write("c.ini", content);
    std::vector<std::string> all = says;
    all.push_back("--config " + file.string());
    expect_usage_error({"-m", "d", "--config", file.string()}, all);
  }
  expect_usage_error({"-m", "d", "--config", dir.path().string()}, {"--config", "directory"});
  expect_usage_error({"-m", "d", "--config", "/dev/zero"}, {"--config /dev/zero", "larger than"});
  expect_usage_error({"-m", "d", "--config", "/no/such"}, {"--config /no/such", "No such file"});
}

}  // namespace
}  // namespace spd
