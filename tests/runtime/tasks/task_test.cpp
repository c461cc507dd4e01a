#include "runtime/tasks/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/tasks/loader.h"
#include "runtime/tasks/report.h"
#include "tests/model/temp_dir.h"
#include "tests/runtime/tasks/reference.h"

namespace spd {
namespace {

using Json = nlohmann::json;

class Tasks : public testing::TestWithParam<Task> {};

TEST_P(Tasks, MakesTheHarnesssRequestsOfBothForms) {
  const Task& task = GetParam();
  const Json reference = read_task_reference();
  ASSERT_GE(reference.at(task.name).size(), 10U);
  for (const Json& item : reference.at(task.name)) {
    const auto wanted = reference_requests(item);
    EXPECT_EQ(task.make_item(item.at("native")).requests, wanted) << item.at("native");
    if (item.at("compact").is_null()) continue;
    const TaskItem compact = task.make_item(item.at("compact"));
    EXPECT_EQ(compact.requests, wanted) << item.at("compact");
    EXPECT_EQ(compact.gold, task.make_item(item.at("native")).gold);
  }
}

TEST_P(Tasks, GradesAsTheHarnessDoes) {
  const Task& task = GetParam();
  const Json reference = read_task_reference();
  for (const Json& item : reference.at(task.name)) {
    std::vector<Likelihood> likelihoods;
    for (const Json& value : item.at("log_likelihood_nats")) {
      likelihoods.push_back({value, item.at("greedy").at(likelihoods.size())});
    }
    const Grade graded = grade(task, task.make_item(item.at("native")), likelihoods);
    EXPECT_EQ(graded.acc, item.at("metrics").at("acc").get<double>());
    EXPECT_EQ(task.acc_norm, item.at("metrics").contains("acc_norm"));
    if (task.acc_norm) {
      EXPECT_EQ(graded.acc_norm, item.at("metrics").at("acc_norm").get<double>());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Tasks, testing::ValuesIn(known_tasks()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(TaskNames, AreReadFromAList) {
  EXPECT_EQ(parse_tasks("all").size(), 7U);
  const auto two = parse_tasks("sciq,piqa,sciq");
  ASSERT_EQ(two.size(), 2U);
  EXPECT_STREQ(two[0].name, "sciq");
  EXPECT_STREQ(two[1].name, "piqa");
  for (const char* wrong : {"", "mmlu", "piqa,", "PIQA"}) {
    EXPECT_THROW(parse_tasks(wrong), Error) << wrong;
  }
}

TEST(TaskGrade, CountsCharactersNotBytesAndGivesTiesToTheFirst) {
  const Task task = parse_tasks("sciq").front();
  // Eight bytes, four characters: per character the first choice is the worse one.
  const TaskItem item = task.make_item(
      {{"support", ""}, {"question", "?"}, {"choices", {"éééé", "abcde", "xxxxx"}}, {"gold", 1}});
  EXPECT_THAT(item.characters, testing::ElementsAre(4, 5, 5));
  const Grade graded = grade(task, item, {{-4.0, false}, {-4.5, false}, {-4.5, false}});
  EXPECT_EQ(graded.acc, 0.0);
  EXPECT_EQ(graded.acc_norm, 1.0);
  EXPECT_EQ(graded.log_likelihood, -4.5);
}

class TaskFiles : public testing::Test {
 protected:
  TempDir dir_;
  Task sciq_ = parse_tasks("sciq").front();
};

std::string sciq_line(int number) {
  return Json{{"support", ""},
              {"question", std::to_string(number)},
              {"choices", {"a", "b"}},
              {"gold", 0}}
             .dump() +
         "\n";
}

TEST_F(TaskFiles, ShardsPartTheItemsWithoutOverlap) {
  std::string text;
  for (int i = 0; i < 7; ++i) text += sciq_line(i) + (i == 2 ? "\n" : "");
  dir_.write("sciq_val.jsonl", text);
  const auto numbers = [&](const TaskSlice& slice) {
    std::vector<std::int64_t> result;
    for (const TaskItem& item : load_items(sciq_, dir_.path(), slice)) {
      EXPECT_THAT(item.requests[0].context,
                  testing::HasSubstr("Question: " + std::to_string(item.number)));
      result.push_back(item.number);
    }
    return result;
  };
  EXPECT_THAT(numbers({}), testing::ElementsAre(0, 1, 2, 3, 4, 5, 6));
  EXPECT_THAT(numbers({5, 0, 1}), testing::ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(numbers({5, 0, 2}), testing::ElementsAre(0, 2, 4));
  EXPECT_THAT(numbers({5, 1, 2}), testing::ElementsAre(1, 3));
  EXPECT_THAT(numbers({1, 1, 2}), testing::ElementsAre());
}

TEST_F(TaskFiles, NameWhatIsWrong) {
  expect_input_error([&] { load_items(sciq_, dir_.path(), {}); },
                     {(dir_.path() / "sciq.jsonl").string(), "--data"});
  struct Case {
    const char* line;
    const char* problem;
  };
  for (const auto& [line, problem] :
       {Case{"{\"support\": \"\", \"question\": \"?\", \"choices\": [\"a\"], \"gold\": 0}",
             "fewer than two"},
        {"{\"support\": \"\", \"question\": \"?\", \"choices\": [\"a\", \"b\"], \"gold\": 2}",
         "choice 2 of 2"},
        {"{\"support\": \"\", \"question\": \"?\", \"choices\": [\"a\", \"\"], \"gold\": 0}",
         "empty choice"},
        {"{\"support\": \"\", \"choices\": [\"a\", \"b\"], \"gold\": 0}", "question"},
        {"{\"support\": 1}", "sciq"},
        {"[1]", "sciq"},
        {"{\"support\"", "line 2"}}) {
    dir_.write("sciq.jsonl", sciq_line(0) + line + "\n");
    expect_input_error([&] { load_items(sciq_, dir_.path(), {}); }, {"sciq.jsonl line 2", problem});
  }
  dir_.write("sciq.jsonl", "\n");
  expect_input_error([&] { load_items(sciq_, dir_.path(), {}); }, {"sciq.jsonl", "no items"});
}

}  // namespace
}  // namespace spd
