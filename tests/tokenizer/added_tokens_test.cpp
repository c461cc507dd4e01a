#include "model/tokenizer/added_tokens.h"

#include "model/tokenizer/added_token_list.h"
#include "tests/tokenizer/fixtures.h"

namespace spd::test {
namespace {

TEST(AddedTokenSearch, FindsTheLeftmostAndLongest) {
  std::mt19937 random(3);
  const auto word = [&](std::size_t longest, std::uint32_t letters) {
    std::string text(1 + random() % longest, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % letters);
    return text;
  };
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::string> needles(random() % 8);
    for (std::string& needle : needles) needle = word(6, 3);
    const AddedTokenSearch search(needles);
    const std::string text = word(40, 4);
    std::size_t from = 0;
    while (true) {
      std::size_t begin = from, longest = 0;
      for (; begin < text.size() && longest == 0; ++begin) {
        for (const std::string& needle : needles) {
          if (text.compare(begin, needle.size(), needle) == 0) {
            longest = std::max(longest, needle.size());
          }
        }
      }
      AddedTokenSearch::Match match;
      ASSERT_EQ(search.find(text, from, match), longest > 0) << text;
      if (longest == 0) break;
      ASSERT_EQ(match.begin, begin - 1) << text << testing::PrintToString(needles);
      ASSERT_EQ(match.end, match.begin + longest) << text << testing::PrintToString(needles);
      ASSERT_EQ(needles[match.needle], text.substr(match.begin, longest));
      from = match.end;
    }
  }
}

// A search that tried needles from each place anew would take the product of their lengths.
TEST(AddedTokenSearch, TakesTimeLinearInTheText) {
  const AddedTokenSearch search({std::string(1'000'000, 'a') + "b"});
  AddedTokenSearch::Match match;
  EXPECT_FALSE(search.find(std::string(2'000'000, 'a'), 0, match));
}

TEST(AddedTokens, AreFoundAsTheReferenceLibraryFindsThem) {
  nlohmann::json state = read_json("gpt2/tokenizer.json");
  const nlohmann::json own = state["added_tokens"];
  int checked = 0;
  for (const nlohmann::json& entry : read_json("added_tokens.json")) {
    state["added_tokens"] = own;
    for (const nlohmann::json& token : entry["added_tokens"])
      state["added_tokens"].push_back(token);
    state["normalizer"] = entry["normalizer"];
    const ScratchDir dir;
    write_file(dir.path() / "tokenizer.json", state.dump());
    const auto tokenizer = Tokenizer::load(dir.path());
    for (std::size_t i = 0; i < entry["texts"].size(); ++i) {
      if (entry["ids"][i].is_null()) continue;  // the library gives no answer
      EXPECT_EQ(tokenizer->encode(entry["texts"][i].get<std::string>(), false),
                entry["ids"][i].get<std::vector<TokenId>>())
          << entry["texts"][i] << entry["added_tokens"];
      ++checked;
    }
  }
  EXPECT_GT(checked, 600);
}

TEST(AddedTokens, ManyAreFound) {
  nlohmann::json state = read_json("gpt2/tokenizer.json");
  constexpr int kTokens = 65536;
  std::string text;
  for (int i = 0; i < kTokens; ++i) {
    state["added_tokens"].push_back(
        {{"id", 700 + i}, {"content", "<|s_" + std::to_string(i) + "|>"}});
    if (i % 3 == 0) text += "<|s_" + std::to_string(i) + "|>";
  }
  const ScratchDir dir;
  write_file(dir.path() / "tokenizer.json", state.dump());
  const auto tokenizer = Tokenizer::load(dir.path());
  const std::vector<TokenId> ids = tokenizer->encode(text, false);
  std::string open;
  for (int i = 0; i < 50'000; ++i) open += "<|";
  EXPECT_GT(tokenizer->encode(open, false).size(), 50'000U);
  ASSERT_EQ(ids.size(), static_cast<std::size_t>((kTokens + 2) / 3));
  EXPECT_EQ(ids[1000], 700 + 3000);
}

TEST(AddedTokenList, KeepsIdsAndGivesFreeOnes) {
  Vocabulary vocabulary;
  vocabulary.add("a", 0);
  vocabulary.add("b", 1);
  AddedTokenList list(vocabulary);
  const auto add = [&](const char* content, std::optional<TokenId> id, bool special = false) {
    AddedToken token;
    token.content = content;
    token.special = special;
    list.add(token, id);
  };
  add("b", 7);          // the vocabulary's own id counts
  add("<x>", 9, true);  // a hole stays
  add("<y>", 9);        // taken
  add("<z>", std::nullopt);
  add("<w>", 1);   // the vocabulary's
  add("<x>", 20);  // again: stays what it is
  add("", 30);
  std::vector<std::pair<std::string, TokenId>> tokens;
  for (const AddedToken& token : list.take()) {
    tokens.emplace_back(token.content, token.id);
    EXPECT_EQ(token.special, token.content == "<x>");
  }
  using testing::Pair;
  EXPECT_THAT(tokens, testing::ElementsAre(Pair("b", 1), Pair("<x>", 9), Pair("<y>", 10),
                                           Pair("<z>", 11), Pair("<w>", 12)));
}

}  // namespace
}  // namespace spd::test
