#include "model/tokenizer/regex.h"

#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

// The pieces that the matches cut a text into.
std::vector<std::string> pieces_of(const Regex& regex, const std::string& text) {
  std::vector<std::string> pieces;
  std::size_t done = 0;
  const auto add = [&](std::size_t begin, std::size_t end) {
    if (begin < end) pieces.push_back(text.substr(begin, end - begin));
  };
  regex.for_each_match(text, [&](std::size_t begin, std::size_t end) {
    add(done, begin);
    add(begin, end);
    done = end;
  });
  add(done, text.size());
  return pieces;
}

TEST(Regex, MatchesAsOnigurumaDoes) {
  const nlohmann::json cases = read_json("regexes.json");
  int checked = 0;
  for (const nlohmann::json& entry : cases["patterns"]) {
    const Regex regex(entry["pattern"].get<std::string>());
    for (std::size_t i = 0; i < cases["texts"].size(); ++i) {
      const auto text = cases["texts"][i].get<std::string>();
      EXPECT_EQ(pieces_of(regex, text), entry["pieces"][i].get<std::vector<std::string>>())
          << entry["pattern"] << " on \"" << text << '"';
      ++checked;
    }
  }
  EXPECT_GT(checked, 600);
}

TEST(Regex, RefusesByPatternAndPlaceWhatItDoesNotTranslate) {
  struct Case {
    const char* pattern;
    std::vector<std::string> message;
  };
  const Case cases[] = {
      {"a\\Kb", {"/a\\Kb/", "byte 1", "\\K"}},
      {"(a)\\1", {"byte 3", "\\1"}},
      {"\\k<n>", {"byte 0", "\\k"}},
      {"\\Ga", {"\\G"}},
      {"\\X", {"\\X"}},
      {"ab(?~c)", {"byte 4", "kind of group"}},
      {"(?(1)a|b)", {"kind of group"}},
      {"(?{x})", {"kind of group"}},
      {"(*FAIL)", {"byte 0", "callout"}},
      {"(?W:a)", {"kind of group or option"}},
      {"a**", {"byte 2", "repeating a repetition"}},
      {"a{3,2}", {"byte 1", "wrong way round"}},
      {"a{70000}", {"65535"}},
      {"*a", {"byte 0", "nothing to repeat"}},
      {"(?=a)*", {"repeating what takes no text"}},
      {"(?i:ß)", {"byte 4", "folds into several"}},
      {"(?i:Straße|pass)", {"letters that one letter folds into"}},
      {"(?i:fluß|fi)", {"letters that one letter folds into"}},
      {"(?i:[é])", {"byte 5", "class of more than ASCII"}},
      {"(?i:[[^a]])", {"byte 5", "class of more than ASCII"}},
      {"(?i:[a-z&&b])", {"byte 8", "class of more than ASCII"}},
      {"\\p{Klingon}", {"byte 0", "Klingon"}},
      {"\\p{Greek", {"name does not end"}},
      {"[[:klingon:]]", {"byte 1", "bracket"}},
      {"[]a]", {"byte 1", "\\]"}},
      {"[a", {"byte 0", "does not end"}},
      {"[z-a]", {"byte 3", "range"}},
      {"[\\d-z]", {"range"}},
      {"(a", {"byte 0", "group does not end"}},
      {"a)", {"byte 1", "no group is open"}},
      {"a\\", {"byte 1", "backslash"}},
      {"\\xe9", {"byte 0", "beyond ASCII"}},
      {"\\x{110000}", {"byte 0", "character"}},
      {"\\u12", {"byte 0", "character"}},
      {"(?<=a+)b", {"/(?<=a+)b/", "lookbehind"}},
      {"a\x1b\\K", {"/a\\x1b\\K/"}},
  };
  for (const Case& bad : cases) {
    SCOPED_TRACE(bad.pattern);
    expect_error(ErrorCode::input, bad.message, [&] { const Regex regex(bad.pattern); });
  }
  const std::string deep = std::string(5000, '(') + std::string(5000, ')');
  expect_error(ErrorCode::input, {"too deeply"}, [&] { const Regex regex(deep); });
  const std::string deep_class = std::string(5000, '[');
  expect_error(ErrorCode::input, {"too deeply"}, [&] { const Regex regex(deep_class); });
}

TEST(Regex, EscapesTextThatIsMeantLiterally) {
  std::string text;
  for (char c = 1; c < 0x7F; ++c) text += c;
  EXPECT_THAT(pieces_of(Regex(Regex::escape(text)), "a" + text + "b"),
              testing::ElementsAre("a", text, "b"));
}

}  // namespace
}  // namespace spd::test
