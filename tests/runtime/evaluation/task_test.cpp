#include "runtime/evaluation/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/commands/task_report.h"
#include "runtime/evaluation/loader.h"
#include "tests/model/temp_dir.h"
#include "tests/runtime/evaluation/reference.h"

namespace spd {
namespace {

using Json = nlohmann::json;

TaskItem make(const Task& task, const Json& line) {
  return task.make_item(JsonObject::of(line, "items.jsonl line 1"));
}

class Tasks : public testing::TestWithParam<Task> {};

TEST_P(Tasks, MakesTheHarnesssRequestsOfBothForms) {
  const Task& task = GetParam();
  const Json reference = read_task_reference();
  ASSERT_GE(reference.at(task.name).size(), 10U);
  for (const Json& item : reference.at(task.name)) {
    const auto wanted = reference_requests(item);
    EXPECT_EQ(make(task, item.at("native")).requests, wanted) << item.at("native");
    if (item.at("compact").is_null()) continue;
    const TaskItem compact = make(task, item.at("compact"));
    EXPECT_EQ(compact.requests, wanted) << item.at("compact");
    EXPECT_EQ(compact.gold, make(task, item.at("native")).gold);
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
    const Grade graded = grade(task, make(task, item.at("native")), likelihoods);
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
  const TaskItem item = make(
      task,
      {{"support", ""}, {"question", "?"}, {"choices", {"éééé", "abcde", "xxxxx"}}, {"gold", 1}});
  EXPECT_THAT(item.characters, testing::ElementsAre(4, 5, 5));
  const Grade graded = grade(task, item, {{-4.0, false}, {-4.5, false}, {-4.5, false}});
  EXPECT_EQ(graded.acc, 0.0);
  EXPECT_EQ(graded.acc_norm, 1.0);
  EXPECT_EQ(graded.log_likelihood, -4.5);
}

// Endings that begin or end in other spaces than ASCII's lose them, a bracket alone leaves nothing
// but a space to score, and É is a capital: what lm-evaluation-harness 0.4.13 asks.
TEST(TaskTexts, AreStrippedAndCapitalizedAsPythonDoes) {
  const Task hellaswag = parse_tasks("hellaswag").front();
  const Json line = {{"activity_label", "Act"},
                     {"ctx_a", "He goes."},
                     {"ctx_b", "ÉLAN He"},
                     {"endings", {"\u00A0runs.", "sits.\u2003", "[step]", "\u3000falls.\n"}},
                     {"label", "1"}};
  EXPECT_EQ(make(hellaswag, line).requests,
            (std::vector<Request>{{"Act: He goes. Élan he", " runs."},
                                  {"Act: He goes. Élan he", " sits."},
                                  {"Act: He goes. Élan he", " "},
                                  {"Act: He goes. Élan he", " falls."}}));
  const Json compact = {
      {"query", "Act: He goes. élan [step] he"}, {"choices", {"a [b] c", "a  b"}}, {"gold", 0}};
  EXPECT_EQ(make(hellaswag, compact).requests,
            (std::vector<Request>{{"Act: He goes. Élan he", " a c"},
                                  {"Act: He goes. Élan he", " a  b"}}));
  const Task piqa = parse_tasks("piqa").front();
  EXPECT_EQ(
      make(piqa, {{"goal", "go\n"}, {"sol1", "a"}, {"sol2", ""}, {"label", 0}}).requests,
      (std::vector<Request>{{"Question: go\n\nAnswer:", " a"}, {"Question: go\n\nAnswer:", " "}}));
  const Task winogrande = parse_tasks("winogrande").front();
  EXPECT_EQ(
      make(
          winogrande,
          {{"sentence", "A _\u00A0is.\u0085"}, {"option1", "b"}, {"option2", "c"}, {"answer", "2"}})
          .requests,
      (std::vector<Request>{{"A b", " is."}, {"A c", " is."}}));
  const Task sciq = parse_tasks("sciq").front();
  EXPECT_EQ(
      make(sciq,
           {{"support", "\u3000\x1DS"}, {"question", "?"}, {"choices", {"a", "b"}}, {"gold", 0}})
          .requests.front()
          .context,
      "S\nQuestion: ?\nAnswer:");
  const Task lambada = parse_tasks("lambada_openai").front();
  EXPECT_EQ(make(lambada, {{"text", "word"}}).requests.front(), (Request{"", " word"}));
  EXPECT_EQ(make(lambada, {{"text", "a b\u00A0 c"}}).requests.front(),
            (Request{"a b\u00A0", " c"}));
}

TEST(TaskLabels, AreIntegersInRangeOrRefused) {
  const Task piqa = parse_tasks("piqa").front();
  Json line = {{"goal", "g"}, {"sol1", "a"}, {"sol2", "b"}};
  for (const Json& label : {Json(1), Json("1"), Json("01")}) {
    line["label"] = label;
    EXPECT_EQ(make(piqa, line).gold, 1) << label;
  }
  for (const Json& label :
       {Json(2), Json(-1), Json(2.9), Json(1.0), Json(1e308), Json("1abc"), Json(""), Json(" 1"),
        Json("-1"), Json("2"), Json("4294967297"), Json("99999999999999999999"),
        Json(18446744073709551615ULL), Json(true), Json::array({1}), Json()}) {
    line["label"] = label;
    expect_input_error([&] { make(piqa, line); }, {"items.jsonl line 1", "label"});
  }
  const Task winogrande = parse_tasks("winogrande").front();
  for (const Json& answer : {Json("0"), Json("3"), Json(0), Json("")}) {
    expect_input_error(
        [&] {
          make(winogrande,
               {{"sentence", "a _ b"}, {"option1", "x"}, {"option2", "y"}, {"answer", answer}});
        },
        {"answer must be an integer from 1 to 2"});
  }
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
             "choices has fewer than two"},
        {"{\"support\": \"\", \"question\": \"?\", \"choices\": [\"a\", \"b\"], \"gold\": 2}",
         "gold must be an integer from 0 to 1, found 2"},
        {"{\"support\": \"\", \"choices\": [\"a\", \"b\"], \"gold\": 0}", "question"},
        {"{\"support\": 1}", "sciq"},
        {"[1]", "sciq"},
        {"{\"support\"", "line 2"}}) {
    dir_.write("sciq.jsonl", sciq_line(0) + line + "\n");
    expect_input_error([&] { load_items(sciq_, dir_.path(), {}); }, {"sciq.jsonl line 2", problem});
  }
  dir_.write("sciq.jsonl", "\n");
  expect_input_error([&] { load_items(sciq_, dir_.path(), {}); }, {"sciq.jsonl", "no items"});
  dir_.write("sciq.jsonl", "{\"support\": \"\xFF\"}\n");
  expect_input_error([&] { load_items(sciq_, dir_.path(), {}); }, {"sciq.jsonl line 1", "JSON"});
  std::filesystem::remove(dir_.path() / "sciq.jsonl");
  std::filesystem::create_directory(dir_.path() / "sciq.jsonl");
  expect_input_error([&] { load_items(sciq_, dir_.path(), {}); }, {"sciq.jsonl", "directory"});
}

TEST_F(TaskFiles, MayBeginWithAByteOrderMark) {
  dir_.write("sciq.jsonl", "\xEF\xBB\xBF" + sciq_line(0) + "\r\n" + sciq_line(1));
  EXPECT_EQ(load_items(sciq_, dir_.path(), {}).size(), 2U);
}

}  // namespace
}  // namespace spd
