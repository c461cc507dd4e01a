// No input is written over, by whatever name, and no output by another.
#include "runtime/report/named_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "runtime/commands/command.h"
#include "tests/model/temp_dir.h"

namespace spd {
namespace {

namespace fs = std::filesystem;

// The message; empty: none.
std::string refusal(const NamedFiles& files, PlanInPlace in_place = PlanInPlace::no) {
  std::string message;
  LaunchOptions one;
  one.virtual_ranks = 1;
  launch_virtual(one, [&](RankContext& context) {
    try {
      check_apart(context, files, in_place);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      message = error.what();
    }
  });
  return message;
}

class Files : public testing::Test {
 protected:
  Files() {
    dir_.write("s.json", "{}");
    fs::create_directory(at("sub"));
    fs::create_symlink("s.json", at("link"));
    fs::create_hard_link(at("s.json"), at("hard"));
    fs::create_symlink("fresh", at("dangling"));
  }
  fs::path at(const std::string& name) const { return dir_.path() / name; }

  TempDir dir_;
};

TEST_F(Files, NoInputIsAnOutput) {
  for (const char* name : {"s.json", "link", "hard", "sub/../s.json", "./s.json"}) {
    const auto message = refusal({{{"--sensitivity", at("s.json")}}, {{"--out", at(name)}}});
    EXPECT_THAT(message,
                testing::AllOf(testing::HasSubstr("--sensitivity " + at("s.json").string()),
                               testing::HasSubstr("--out " + at(name).string()),
                               testing::HasSubstr("are one file"), testing::HasSubstr("remedy: ")));
  }
  EXPECT_EQ(refusal({{{"--sensitivity", at("s.json")}}, {{"--out", at("t.json")}}}), "");
  EXPECT_EQ(refusal({{{"--text", at("none")}}, {{"--json", at("s.json")}}}), "");
  // A copy is another file.
  fs::copy_file(at("s.json"), at("copy"));
  EXPECT_EQ(refusal({{{"--sensitivity", at("s.json")}}, {{"--out", at("copy")}}}), "");
}

TEST_F(Files, NoTwoOutputsAreOne) {
  for (const auto& [one, other] :
       std::vector<std::pair<const char*, const char*>>{{"s.json", "s.json"},
                                                        {"s.json", "link"},
                                                        {"hard", "link"},
                                                        {"new/r.json", "new/r.json"},
                                                        {"new.json", "sub/../new.json"},
                                                        {"fresh", "dangling"}}) {
    EXPECT_THAT(refusal({{}, {{"--json", at(one)}, {"--plot", at(other)}}}),
                testing::AllOf(testing::HasSubstr("--json"), testing::HasSubstr("--plot"),
                               testing::HasSubstr("one file")))
        << one << " " << other;
  }
  EXPECT_EQ(refusal({{}, {{"--json", at("a")}, {"--plot", at("b")}}}), "");
  EXPECT_THAT(refusal({{}, {{"--json", "-"}, {"--items", "-"}}}), testing::HasSubstr("one file"));
  EXPECT_EQ(refusal({{}, {{"--json", "/dev/null"}, {"--plot", "/dev/null"}}}), "");
}

TEST_F(Files, OfAModelAndOfTasksAreInputs) {
  fs::create_directory(at("model"));
  for (const char* name : {"config.json", "model.safetensors", "r.json"}) {
    dir_.write(std::string("model/") + name, "x");
  }
  for (const char* name : {"config.json", "model.safetensors"}) {
    EXPECT_THAT(refusal({{{"--model", at("model")}}, {{"--json", at("model") / name}}}),
                testing::HasSubstr("--model"));
  }
  EXPECT_EQ(refusal({{{"--model", at("model")}}, {{"--json", at("model/r.json")}}}), "");
  dir_.write("model/piqa.jsonl", "{}");
  EXPECT_THAT(refusal({{{"--data", at("model")}}, {{"--items", at("model/piqa.jsonl")}}}),
              testing::HasSubstr("--data"));
}

TEST_F(Files, APlanMayBeUpdatedByCommandsThatDoSo) {
  dir_.write("p.json", R"({"repair": {"file": "p.00000000.safetensors", "hash": "0"}})");
  dir_.write("p.00000000.safetensors", "x");
  const NamedFiles same{{{"--plan", at("p.json")}}, {{"--out", at("p.json")}}};
  EXPECT_THAT(refusal(same), testing::HasSubstr("--plan"));
  EXPECT_EQ(refusal(same, PlanInPlace::yes), "");
  EXPECT_THAT(refusal({{{"--plan", at("p.json")}}, {{"--out", at("p.00000000.safetensors")}}},
                      PlanInPlace::yes),
              testing::HasSubstr("the repairs of --plan"));
  EXPECT_NE(refusal({{{"--plan", at("p.json")}}, {{"--json", at("p.json")}}}, PlanInPlace::yes),
            "");
  EXPECT_NE(refusal({{{"--merge", at("p.json")}}, {{"--out", at("p.json")}}}, PlanInPlace::yes),
            "");
  EXPECT_THAT(refusal({{{"--plan", at("p.json")}}, {{"--json", at("p.00000000.safetensors")}}}),
              testing::HasSubstr("p.00000000.safetensors"));
}

TEST_F(Files, StdinIsReadOnce) {
  EXPECT_THAT(refusal({{{"--text", "-"}, {"--repair", "-"}}, {}}), testing::HasSubstr("stdin"));
  EXPECT_EQ(refusal({{{"--text", "-"}}, {}}), "");
}

TEST_F(Files, AreThoseOfTheOptions) {
  struct All {
    CommonOptions common;
    StartOptions start;
  } all;
  std::string text;
  OptionTable options;
  options.group("Work").add("text", "FILE", &text, "a text");
  all.common.add_to(options);
  all.start.add_to(options);
  dir_.write("c.ini", "json = r.json\n");
  const NamedFiles files = parse_arguments(options,
                                           {"-m", "d", "--text", "t", "--plan", "p.json", "--algo",
                                            "ring", "--config", at("c.ini").string()},
                                           "", "");
  std::vector<std::string> inputs;
  for (const NamedFile& file : files.inputs) inputs.push_back(file.flag);
  EXPECT_THAT(inputs, testing::UnorderedElementsAre("--model", "--text", "--plan", "--config"));
  ASSERT_EQ(files.outputs.size(), 1U);
  EXPECT_EQ(files.outputs[0].file, "r.json");
}

}  // namespace
}  // namespace spd
