#include "runtime/evaluation/hellaswag_text.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace spd {
namespace {

// Expected values are lm-evaluation-harness 0.4.13's preprocess().
TEST(HellaswagText, IsCleanedAsTheHarnessDoes) {
  for (const auto& [text, clean] : std::vector<std::pair<std::string, std::string>>{
           {"A [b] c", "A c"},
           {"A [title] B.", "A. B."},
           {"[header] How [title] Do. [step] Go.", " How. Do. Go."},
           {"[a [b] c]", " c]"},
           {"[[x]y]", "y]"},
           {"] [", "] ["},
           {"[a\nb] [c]", "[a\nb] "},
           {"[\n[x]]", "[\n]"},
           {"[]", ""},
           {"[step]", ""},
           {"a    b", "a  b"},
           {"\u00A0 runs.\u3000", "runs."},
           {"x [a][b] y", "x y"},
           {"[open at the end", "[open at the end"}}) {
    EXPECT_EQ(clean_hellaswag(text), clean) << text;
  }
}

TEST(HellaswagText, OfAnyLengthIsCleanedInLinearTime) {
  const std::string letters(2000000, 'w');
  EXPECT_EQ(clean_hellaswag("a [ " + letters), "a [ " + letters);
  EXPECT_EQ(clean_hellaswag("a [" + letters + "]b"), "a b");
  const std::string brackets(2000000, '[');
  EXPECT_EQ(clean_hellaswag(brackets), brackets);
  std::string lines;
  for (int i = 0; i < 500000; ++i) lines += "[\n";
  EXPECT_EQ(clean_hellaswag(lines + "x"), lines + "x");
}

TEST(HellaswagText, OfTheCompactFormIsCleanedWhereItIsNot) {
  EXPECT_EQ(clean_compact_hellaswag("a  b "), "a  b ");
  EXPECT_EQ(clean_compact_hellaswag("a [step]  b "), "a  b");
}

TEST(HellaswagText, FragmentsBeginLarge) {
  EXPECT_EQ(capitalize_fragment("Cooking: A man stands. he Cuts"),
            "Cooking: A man stands. He cuts");
  EXPECT_EQ(capitalize_fragment("Cooking: Fin. élan"), "Cooking: Fin. Élan");
  EXPECT_EQ(capitalize_fragment("Cooking: A man stands."), "Cooking: A man stands.");
}

}  // namespace
}  // namespace spd
