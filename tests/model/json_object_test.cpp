#include "model/json_object.h"

#include <sys/stat.h>

#include <functional>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

JsonObject object(const std::string& text) { return JsonObject::parse(text, "f.json"); }

TEST(JsonObject, GivesWhatIsThere) {
  const JsonObject json = object(
      R"({"i": -3, "w": 4096.0, "x": 2.5, "b": true, "s": "t", "n": null, "is": [1, 2],
          "xs": [1, 2.5], "ss": ["a"], "o": {"k": 1}, "os": [{"k": 2}]})");
  EXPECT_EQ(json.integer("i", -5), -3);
  EXPECT_EQ(json.integer("i", -3, -3), -3);
  EXPECT_EQ(json.integer_or("n", 0, 7), 7);
  EXPECT_EQ(json.whole_number("w", 1), 4096);
  EXPECT_EQ(json.whole_number("i", -3), -3);
  EXPECT_EQ(json.number("x", 0), 2.5);
  EXPECT_EQ(json.number_within("x", 2.5, 3), 2.5);
  EXPECT_EQ(json.numbers("xs", 0, 3), (std::vector<double>{1, 2.5}));
  EXPECT_EQ(json.integers("is", 1), (std::vector<int>{1, 2}));
  EXPECT_EQ(json.strings("ss"), std::vector<std::string>{"a"});
  EXPECT_EQ(json.object("o").integer("k", 0), 1);
  EXPECT_EQ(json.objects("os").front().integer("k", 0), 2);
  EXPECT_TRUE(json.boolean_or("b", false));
  EXPECT_TRUE(json.contains("n"));
  EXPECT_FALSE(json.has("n"));
}

TEST(JsonObject, RefusesNumbersThatDoNotFit) {
  using Take = std::function<void(const JsonObject&)>;
  const Take integer = [](const JsonObject& json) { json.integer("k", 1); };
  const Take small = [](const JsonObject& json) { json.integer("k", 1, 10); };
  const Take whole = [](const JsonObject& json) { json.whole_number("k", 1); };
  const Take number = [](const JsonObject& json) { json.number("k", 0); };
  const Take within = [](const JsonObject& json) { json.number_within("k", 0, 1); };
  const Take integers = [](const JsonObject& json) { json.integers("k", 0); };
  const Take numbers = [](const JsonObject& json) { json.numbers("k", -1e9, 1e9); };
  struct Row {
    const char* value;
    Take take;
    const char* part;
  };
  const std::vector<Row> rows{
      {"2.0", integer, "an integer from 1 to 2147483647, found 2.0"},
      {"2.9", integer, "found 2.9"},
      {"1e308", integer, "found 1e+308"},
      {"4294967298", integer, "found 4294967298"},
      {"9223372036854775807", integer, "k must be"},
      {"18446744073709551615", integer, "k must be"},
      {"NaN", integer, "found NaN"},
      {"0", integer, "found 0"},
      {"11", small, "from 1 to 10, found 11"},
      {"2.5", whole, "an integer from 1 to 2147483647, found 2.5"},
      {"0.0", whole, "found 0.0"},
      {"1e308", whole, "found 1e+308"},
      {"Infinity", whole, "found Infinity"},
      {"NaN", number, "a number above 0, found NaN"},
      {"Infinity", number, "found Infinity"},
      {"-Infinity", number, "found -Infinity"},
      {"\"1\"", number, "found \"1\""},
      {"1.5", within, "a number from 0 to 1, found 1.5"},
      {"NaN", within, "found NaN"},
      {"[1, 2.9]", integers, "a list of integers from 0 to 2147483647"},
      {"[1, 4294967298]", integers, "a list of integers"},
      {"[18446744073709551615]", integers, "a list of integers"},
      {"[-1]", integers, "a list of integers"},
      {"[1, NaN]", numbers, "a list of numbers"},
      {"[1e308]", numbers, "a list of numbers"},
      {"3", numbers, "a list of numbers"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.value);
    const JsonObject json = object(R"({"o": {"k": )" + std::string(row.value) + "}}");
    expect_input_error([&] { row.take(json.object("o")); }, {"f.json: o.k must be", row.part});
  }
}

TEST(JsonObject, IgnoresNonFiniteNumbersThatNobodyReads) {
  const TempDir dir;
  const auto file = dir.write("f.json", R"({"time_step_limit": [0.0, Infinity], "k": 3})");
  EXPECT_EQ(JsonObject::load(file).integer("k", 1), 3);
}

TEST(JsonObject, RefusesWhatIsNoFile) {
  const TempDir dir;
  expect_input_error([&] { JsonObject::load(dir.path()); },
                     {dir.path().string() + ": cannot be read: Is a directory"});
  expect_input_error([&] { JsonObject::load(dir.path() / "none"); },
                     {"none: cannot be read: No such file"});
  expect_input_error([&] { JsonObject::load(dir.write("empty", "")); }, {"empty: is empty"});
  expect_input_error([&] { JsonObject::load("/dev/zero"); }, {"/dev/zero: is larger than"});
  expect_input_error([&] { JsonObject::load(dir.write("list", "[1]")); },
                     {"list: must hold a JSON object, found [1]"});
}

}  // namespace
}  // namespace spd
