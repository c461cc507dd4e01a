// The table of options: what --help says of them, what values they take, what is said of others.
#include "runtime/job/option_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "kernels/device/error.h"
#include "runtime/job/option_values.h"

namespace spd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

enum class Fruit { apple, pear, plum };
const char* name(Fruit fruit) {
  return fruit == Fruit::apple ? "apple" : fruit == Fruit::pear ? "pear" : "plum";
}
enum class Mode { automatic, text };

struct Variables {
  std::int64_t count = 512;
  std::vector<std::int64_t> sizes = {16, 32};
  int threads = 0;
  float rate = 2e-4f;
  double share = 0.95;
  double budget = -1.0;
  bool pin = true, quiet = false;
  Mode mode = Mode::automatic;
  Fruit fruit = Fruit::pear;
  std::vector<Fruit> fruits = {Fruit::apple, Fruit::plum}, none;
  std::string text, list = "all";
  std::filesystem::path file;
  std::vector<std::string> parts;
  std::vector<std::string> parsed;

  OptionTable table() {
    OptionTable table;
    OptionGroup numbers = table.group("Numbers");
    numbers.add("count,c", "N", &count, at_least(1), "things to count");
    numbers.add("threads", "T", &threads, at_least(0).and_at_most(4096), "threads", "by cores");
    numbers.add("rate", "R", &rate, above(0), "of learning");
    numbers.add("share", "P", &share, at_least(0.5).and_below(1), "of it");
    numbers.add("budget", "X", &budget, at_least(0), "to spend", "");
    numbers.add("sizes", "LIST", &sizes, at_least(1).and_at_most(99), "to try");
    numbers.add("pin", &pin, "pin threads");
    numbers.flag("quiet", &quiet, "say nothing");
    OptionGroup names = table.group("Names");
    names.add("fruit", "F", &fruit, one_of(Fruit::apple, Fruit::pear, Fruit::plum), "to eat");
    names.add("fruits", "LIST", &fruits, one_of(Fruit::apple, Fruit::pear, Fruit::plum), "to buy");
    names.add("none", "LIST", &none, one_of(Fruit::apple, Fruit::pear), "to leave",
              ListOf::some_or_none);
    names.add("mode", "M", &mode, one_of<Mode>({{"auto", Mode::automatic}, {"text", Mode::text}}),
              "auto: as it comes; text: as text");
    names.flag("text-mode", &mode, Mode::text, "as --mode text");
    OptionGroup texts = table.group("Texts");
    texts.require("text", "TEXT", &text, R"(a text,
        told of in lines)");
    texts.add("list", "LIST", &list, "of blocks");
    texts.add("file", "FILE", &file, "a file", "none is read");
    texts.add("part", "PART", &parts, "a part, repeatable");
    texts.add_each_parsed(
        "parsed", "X",
        [this](const std::string& one) {
          if (one == "bad") throw Error(ErrorCode::usage, "--parsed bad");
          parsed.push_back(one);
        },
        "parsed by hand");
    texts.add_config_and_help();
    return table;
  }

  void parse(const std::vector<std::string>& arguments) {
    const auto options = table().description();
    boost::program_options::variables_map values;
    store_arguments(options, arguments, OtherOptions::refused, values);
    notify_options(values);
  }
};

std::string help_of(Variables variables) {
  boost::program_options::options_description wide(400);
  const auto options = variables.table().description();
  std::ostringstream text;
  for (const auto& option : options.options()) {
    text << option->long_name() << ": " << option->description() << "\n";
  }
  return text.str();
}

TEST(OptionTable, PrintsDefaultsFromTheVariables) {
  EXPECT_EQ(help_of({}),
            "count: things to count (default 512)\n"
            "threads: threads (default: by cores)\n"
            "rate: of learning (default 0.0002)\n"
            "share: of it (default 0.95)\n"
            "budget: to spend\n"
            "sizes: to try (default 16,32)\n"
            "pin: pin threads (default 1)\n"
            "quiet: say nothing\n"
            "fruit: to eat: apple, pear or plum (default pear)\n"
            "fruits: to buy: apple, pear, plum (default apple,plum)\n"
            "none: to leave: apple, pear, or none (default none)\n"
            "mode: auto: as it comes; text: as text (default auto)\n"
            "text-mode: as --mode text\n"
            "text: a text, told of in lines\n"
            "list: of blocks (default all)\n"
            "file: a file (default: none is read)\n"
            "part: a part, repeatable\n"
            "parsed: parsed by hand\n"
            "config: read options from a file of lines \"name = value\"; the command line wins\n"
            "help: this text\n");
  Variables other;
  other.count = 7;
  other.fruit = Fruit::plum;
  EXPECT_THAT(help_of(other), HasSubstr("(default 7)"));
  EXPECT_THAT(help_of(other), HasSubstr("plum (default plum)"));
}

TEST(OptionTable, HasItsGroupsInTheirOrder) {
  std::ostringstream text;
  text << Variables().table().description();
  const std::string all = text.str();
  EXPECT_LT(all.find("Numbers:"), all.find("-c [ --count ] N"));
  EXPECT_LT(all.find("-c [ --count ] N"), all.find("Names:"));
  EXPECT_LT(all.find("Names:"), all.find("Texts:"));
  EXPECT_NE(all.find("Texts:"), std::string::npos);
}

TEST(OptionTable, SetsTheVariables) {
  Variables values;
  values.parse({"-c",     "3",        "--threads",  "4096",        "--rate",  "1e-5",   "--share",
                "0.5",    "--quiet",  "--pin",      "0",           "--fruit", "plum",   "--fruits",
                "pear",   "--fruits", "plum,apple", "--none",      "apple",   "--text", "t",
                "--file", "a \"b\"",  "--part",     "x",           "--part",  "y",      "--parsed",
                "1",      "--parsed", "2",          "--text-mode", "--sizes", "99,1"});
  EXPECT_EQ(values.count, 3);
  EXPECT_EQ(values.threads, 4096);
  EXPECT_EQ(values.rate, 1e-5f);
  EXPECT_EQ(values.share, 0.5);
  EXPECT_EQ(values.budget, -1.0);  // a default may lie outside of the limits: it is not given
  EXPECT_THAT(values.sizes, ElementsAre(99, 1));
  EXPECT_TRUE(values.quiet);
  EXPECT_FALSE(values.pin);
  EXPECT_EQ(values.fruit, Fruit::plum);
  EXPECT_THAT(values.fruits, ElementsAre(Fruit::pear, Fruit::plum, Fruit::apple));
  EXPECT_THAT(values.none, ElementsAre(Fruit::apple));
  EXPECT_EQ(values.mode, Mode::text);
  EXPECT_EQ(values.text, "t");
  EXPECT_EQ(values.file, "a \"b\"");
  EXPECT_THAT(values.parts, ElementsAre("x", "y"));
  EXPECT_THAT(values.parsed, ElementsAre("1", "2"));
  values.parse({"--text", "t", "--none", "none"});
  EXPECT_THAT(values.none, testing::IsEmpty());
}

TEST(OptionTable, LeavesTheVariablesOfWhatIsNotGiven) {
  Variables values;
  values.parse({"--text", "t"});
  EXPECT_EQ(values.count, 512);
  EXPECT_TRUE(values.pin);
  EXPECT_EQ(values.fruit, Fruit::pear);
  EXPECT_EQ(values.mode, Mode::automatic);
  EXPECT_THAT(values.fruits, ElementsAre(Fruit::apple, Fruit::plum));
  EXPECT_EQ(values.list, "all");
}

TEST(OptionTable, RefusesByFlagValueAndWhatItMayBe) {
  struct Case {
    std::vector<std::string> arguments;
    std::vector<std::string> says;
  };
  for (const auto& [arguments, says] : std::vector<Case>{
           {{"--count", "0"}, {"--count 0 is less than 1"}},
           {{"-c", "-7"}, {"--count -7 is less than 1"}},
           {{"--threads", "4097"}, {"--threads 4097 is not from 0 to 4096"}},
           {{"--threads", "-1"}, {"--threads -1 is not from 0 to 4096"}},
           {{"--rate", "0"}, {"--rate 0 is not above 0"}},
           {{"--share", "1"}, {"--share 1 is not at least 0.5 and below 1"}},
           {{"--share", "0.25"}, {"--share 0.25 is not at least 0.5 and below 1"}},
           {{"--budget", "-0.5"}, {"--budget -0.5 is less than 0"}},
           {{"--sizes", "3,x"}, {"--sizes 3,x: \"x\" is not an integer"}},
           {{"--sizes", "3,"}, {"--sizes 3,: \"\" is not an integer"}},
           {{"--sizes", "3,100"}, {"--sizes 100 is not from 1 to 99"}},
           {{"--sizes", "99999999999999999999"}, {"is not an integer"}},
           {{"--pin", "2"}, {"--pin 2", "0 or 1"}},
           {{"--quiet=1"}, {"--quiet takes no value"}},
           {{"--fruit", "aple"}, {"--fruit aple is unknown", "\"apple\"", "apple, pear or plum"}},
           {{"--fruit", "apple,pear"}, {"--fruit apple,pear is unknown"}},
           {{"--fruits", "pear,kiwi"}, {"--fruits pear,kiwi: \"kiwi\" is unknown", "plum"}},
           {{"--fruits", "pear,"}, {"--fruits pear,: \"\" is unknown"}},
           {{"--fruits", "none"}, {"--fruits none is unknown"}},
           {{"--none", "none", "--none", "none"}, {"--none none is unknown"}},
           {{"--mode", "%value%"}, {"--mode %value% is unknown", "use auto or text"}},
           {{"--parsed", "bad"}, {"--parsed bad"}},
           {{"--cuont", "3"}, {"--cuont", "\"--count\""}}}) {
    std::vector<std::string> all = {"--text", "t"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    try {
      Variables().parse(all);
      ADD_FAILURE() << testing::PrintToString(arguments);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      for (const std::string& part : says) EXPECT_THAT(error.what(), HasSubstr(part));
    }
  }
  try {
    Variables().parse({});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("--text is required"));
  }
}

TEST(OptionTable, LimitsAreTold) {
  for (const auto& [limits, value, says] : std::vector<std::tuple<Limits, double, std::string>>{
           {above(0).and_at_most(1), 2, "--x 2 is not above 0 and at most 1"},
           {above(0).and_at_most(1), 0, "--x 0 is not above 0 and at most 1"},
           {any_number().and_at_most(8), 9, "--x 9 is not at most 8"},
           {any_number().and_below(8), 8, "--x 8 is not below 8"},
           {above(0).and_below(1e6), 1e6, "--x 1000000 is not above 0 and below 1000000"}}) {
    try {
      limits.check("--x", value, fmt::format("{}", value));
      ADD_FAILURE() << says;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(says));
    }
  }
  EXPECT_TRUE(any_number().hold(-1e300));
  EXPECT_FALSE(at_least(0).hold(std::numeric_limits<double>::quiet_NaN()));
}

}  // namespace
}  // namespace spd
