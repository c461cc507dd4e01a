#include "runtime/evaluation/results_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

const nlohmann::json kHeader = {{"schema", "spd.task-items/1"}, {"tp", 3}, {"plan", "0a"}};

std::string read(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class ResultsFiles : public testing::Test {
 protected:
  void write_two(const std::filesystem::path& file, std::int64_t first) const {
    ResultsFile results(file, kHeader);
    results.append("piqa", first, "k0", {{{-1.25, true}, {-2.0, false}}, {}}, {{"gold", 1}});
    results.append("piqa", first + 1, "k1", {{{-0.1, false}}, {{-0.3, true}}},
                   {{"plan", {{"acc", 1.0}}}});
    results.flush();
  }

  TempDir dir_;
  std::filesystem::path file_ = dir_.path() / "items.jsonl";
};

TEST_F(ResultsFiles, GiveBackWhatWasWritten) {
  write_two(file_, 0);
  const ResultsFile results(file_, kHeader);
  const ItemResult* first = results.find("piqa", 0, "k0");
  ASSERT_NE(first, nullptr);
  ASSERT_EQ(first->plan.size(), 2U);
  EXPECT_EQ(first->plan[0].log_likelihood, -1.25);
  EXPECT_TRUE(first->plan[0].greedy);
  EXPECT_FALSE(first->plan[1].greedy);
  EXPECT_TRUE(first->baseline.empty());
  const ItemResult* second = results.find("piqa", 1, "k1");
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->baseline.at(0).log_likelihood, -0.3);
  EXPECT_EQ(results.find("piqa", 2, "k0"), nullptr);
  EXPECT_EQ(results.find("sciq", 0, "k0"), nullptr);
  EXPECT_EQ(results.find("piqa", 0, "other content"), nullptr);
}

TEST_F(ResultsFiles, ALineThatWasCutOffIsDropped) {
  write_two(file_, 0);
  const std::string whole = read(file_);
  for (const std::size_t cut : {1U, 2U, 30U}) {
    std::ofstream(file_, std::ios::binary) << whole.substr(0, whole.size() - cut);
    ResultsFile results(file_, kHeader);
    EXPECT_NE(results.find("piqa", 0, "k0"), nullptr);
    EXPECT_EQ(results.find("piqa", 1, "k1"), nullptr);
    results.append("piqa", 1, "k1", {{{-0.1, false}}, {{-0.3, true}}}, {{"plan", {{"acc", 1.0}}}});
    results.flush();
    EXPECT_EQ(read(file_), whole);
  }
}

TEST_F(ResultsFiles, PartsCanBePutTogether) {
  const auto other = dir_.path() / "part1.jsonl";
  write_two(file_, 0);
  write_two(other, 2);
  const std::string part = read(other);
  std::ofstream(file_, std::ios::binary | std::ios::app) << part;
  const ResultsFile results(file_, kHeader);
  for (const std::int64_t number : {0, 2}) EXPECT_NE(results.find("piqa", number, "k0"), nullptr);
  for (const std::int64_t number : {1, 3}) EXPECT_NE(results.find("piqa", number, "k1"), nullptr);
}

TEST_F(ResultsFiles, OtherRunsAndDamageAreRefused) {
  write_two(file_, 0);
  auto other = kHeader;
  other["plan"] = "0b";
  expect_input_error([&] { ResultsFile(file_, other); },
                     {file_.string(), "another run", "\"0a\"", "\"0b\"", "--items"});
  other = kHeader;
  other["baseline"] = "none";
  expect_input_error([&] { ResultsFile(file_, other); }, {"baseline is missing"});
  dir_.write("items.jsonl", kHeader.dump() + "\n{\"task\": 1}\n");
  expect_input_error([&] { ResultsFile(file_, kHeader); }, {"line 2", "not a result"});
  dir_.write("items.jsonl", "not JSON\n");
  expect_input_error([&] { ResultsFile(file_, kHeader); }, {"line 1"});
  EXPECT_THROW(ResultsFile(file_ / "items.jsonl", kHeader), Error);  // a file for a folder
}

TEST_F(ResultsFiles, DamagedResultsAreRefusedByLineAndKey) {
  const nlohmann::json good = {{"task", "piqa"},
                               {"item", 0},
                               {"key", "k"},
                               {"plan", {{"log_likelihood_nats", {-1.0}}, {"greedy", {true}}}}};
  struct Case {
    const char* place;
    nlohmann::json value;
  };
  for (const auto& [place, value] :
       std::vector<Case>{{"/plan/log_likelihood_nats", nlohmann::json::array()},
                         {"/plan/log_likelihood_nats", {-1.0, -2.0}},
                         {"/plan/log_likelihood_nats", {1e308}},
                         {"/plan/log_likelihood_nats", {-1e308}},
                         {"/plan/log_likelihood_nats", {0.5}},
                         {"/plan/log_likelihood_nats", {"-1"}},
                         {"/plan/log_likelihood_nats", {nullptr}},
                         {"/plan/log_likelihood_nats", -1.0},
                         {"/plan/greedy", nlohmann::json::array()},
                         {"/plan/greedy", {1}},
                         {"/plan", nlohmann::json::array()},
                         {"/item", -1},
                         {"/item", 1.5},
                         {"/item", 1e308},
                         {"/task", 7},
                         {"/baseline", 5}}) {
    nlohmann::json bad = good;
    bad[nlohmann::json::json_pointer(place)] = value;
    dir_.write("items.jsonl", kHeader.dump() + "\n" + bad.dump() + "\n");
    expect_input_error([&] { ResultsFile(file_, kHeader); },
                       {"items.jsonl line 2", "not a result", "--items"});
  }
}

TEST_F(ResultsFiles, WhatLacksTheBaselineAskedForIsNotDone) {
  auto header = kHeader;
  header["baseline"] = "0c";
  {
    ResultsFile results(file_, header);
    results.append("piqa", 0, "k0", {{{-1.25, true}}, {}}, nlohmann::json::object());
    results.append("piqa", 1, "k1", {{{-1.25, true}}, {{-1.5, false}}}, nlohmann::json::object());
    results.flush();
  }
  const ResultsFile results(file_, header);
  EXPECT_EQ(results.find("piqa", 0, "k0"), nullptr);
  ASSERT_NE(results.find("piqa", 1, "k1"), nullptr);
}

TEST(ContentKey, TellsRequestsApart) {
  const EncodedItem item = {{{1, 2, 3}, 1}, {{1, 2, 4}, 1}};
  EXPECT_EQ(content_key(item), content_key(EncodedItem(item)));
  EXPECT_NE(content_key(item), content_key({{{1, 2, 3}, 1}, {{1, 2, 5}, 1}}));
  EXPECT_NE(content_key(item), content_key({{{1, 2, 3}, 2}, {{1, 2, 4}, 1}}));
  EXPECT_NE(content_key(item), content_key({{{1, 2, 3}, 1}}));
}

}  // namespace
}  // namespace spd
