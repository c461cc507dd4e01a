#include "model/json_text.h"

#include <cmath>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

constexpr int kDepth = 8;

nlohmann::json parse(const std::string& text) { return parse_json(text, "f.json", kDepth); }

TEST(JsonText, ReadsWhatTheLibraryReads) {
  const std::string text = R"({"a": [1, -2, 2.5e3, true, null, "\u00e9\n"], "b": {"c": {}, "d": []},
                              "e": 18446744073709551615, "f": 1e-400})";
  EXPECT_EQ(parse(text), nlohmann::json::parse(text));
  EXPECT_EQ(parse_ordered_json(text, "f", kDepth), nlohmann::ordered_json::parse(text));
  for (const char* scalar : {"3", "-0.5", "\"x\"", "true", "null", " [] ", "{}"}) {
    EXPECT_EQ(parse(scalar), nlohmann::json::parse(scalar)) << scalar;
  }
}

TEST(JsonText, KeepsTheOrderWhereAskedFor) {
  const std::string text = R"({"z":1,"a":{"y":2,"b":[{"x":3,"c":4}]}})";
  EXPECT_EQ(parse_ordered_json(text, "f", kDepth).dump(), text);
  EXPECT_EQ(parse(text).dump(), R"({"a":{"b":[{"c":4,"x":3}],"y":2},"z":1})");
}

TEST(JsonText, ReadsPythonsNonFiniteNumbers) {
  const auto json = parse(
      R"({"NaN": "Infinity", "a": NaN, "b": [1, Infinity, "-Infinity\"", -Infinity,NaN, 2], "c": 3})");
  EXPECT_EQ(json["NaN"], "Infinity");
  EXPECT_TRUE(std::isnan(json["a"].get<double>()));
  EXPECT_EQ(json["b"][0], 1);
  EXPECT_EQ(json["b"][1].get<double>(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(json["b"][2], "-Infinity\"");
  EXPECT_EQ(json["b"][3].get<double>(), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(json["b"][4].get<double>()));
  EXPECT_EQ(json["b"][5], 2);
  EXPECT_EQ(json["c"], 3);
  EXPECT_TRUE(std::isnan(parse("NaN").get<double>()));
  EXPECT_TRUE(std::isnan(parse_ordered_json("[NaN]", "f", kDepth)[0].get<double>()));
  for (const char* text :
       {"nan", "[NaNs]", "[1NaN]", "[NaN1]", "[--Infinity]", "[+Infinity]", "[-NaN]", "[NaN NaN]",
        "{NaN: 1}", "[NaN\"a\"]", "[Inf]", "[1Infinity]", "[NaN", "NaN,", "\"NaN"}) {
    expect_input_error([&] { parse(text); }, {"f.json: not valid JSON: line 1, column "});
  }
}

TEST(JsonText, RefusesByLineAndColumn) {
  struct Row {
    std::string text;
    std::string part;
  };
  const std::vector<Row> rows{
      {"", "line 1, column 1"},
      {"{", "line 1, column 2"},
      {"{\"a\": 1,\n \"b\": }", "line 2, column 7"},
      {"{\"a\": 1,\n\n \"b\": tru }", "line 3, column 10"},
      {"[1,\n NaN, oops]", "line 2, column 7"},
      {"[1] 2", "line 1, column 5"},
      {"{\"a\": 1e999}", "too large for a double"},
      {"\xff\xfe", "line 1, column 1"},
      {"{\"a\": \"\xc3\"}", "\\xc3"},
      {"[\"a\x1b[2Jb\"]", "\\x1b"},
      {"{\"a\": 1, \"a\": 2}", "key \"a\" comes twice"},
      {"{\"b\": {\"a\": 1}, \"a\": {\"c\": 0}, \"b\": 2}", "key \"b\" comes twice"},
      {"[[[[[[[[[1]]]]]]]]]", "nested deeper than 8"},
      {std::string(3'000'000, '['), "nested deeper than 8"},
      {std::string("[1]\0[2]", 7), "zero byte"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
       "is a Git LFS pointer"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.text.substr(0, 100));
    expect_input_error([&] { parse(row.text); }, {"f.json: ", row.part});
    expect_input_error([&] { parse_ordered_json(row.text, "f.json", kDepth); },
                       {"f.json: ", row.part});
  }
  EXPECT_NO_THROW(parse("[[[[[[[[1]]]]]]]]"));
}

TEST(JsonText, QuotesLittleOfALongText) {
  const std::string long_token(100'000, 'x');
  for (const std::string& text : {"[\"" + long_token, "[" + long_token, "{\"" + long_token + "\" 1",
                                  "[" + std::string(100'000, '1') + "e99999]"}) {
    try {
      parse(text);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_LT(std::string_view(error.what()).size(), 400) << error.what();
    }
  }
}

TEST(JsonText, ShowsValuesShortly) {
  EXPECT_EQ(shown_json("a\x1b"), "\"a\\u001b\"");
  EXPECT_EQ(shown_json(std::nan("")), "NaN");
  EXPECT_EQ(shown_json(-INFINITY), "-Infinity");
  EXPECT_LT(shown_json(std::string(1000, 'x')).size(), 70);
}

}  // namespace
}  // namespace spd
