#include "model/tokenizer/python_text.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace spd {
namespace {

// What Python's str.strip leaves of "SPACE x SPACE".
TEST(PythonText, StripsWhatPythonCallsSpace) {
  for (const char* space : {" ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\x1C",
                            "\x1D",   "\x1E",   "\x1F",   "\u0085", "\u00A0", "\u1680", "\u2000",
                            "\u2003", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"}) {
    const std::string text = std::string(space) + "x" + space;
    EXPECT_EQ(python_strip(text), "x") << text;
    EXPECT_EQ(python_lstrip(text), std::string("x") + space);
    EXPECT_EQ(python_rstrip(text), std::string(space) + "x");
    EXPECT_EQ(python_strip(std::string(space) + space), "");
  }
  for (const char* letter : {"\u200B", "\u180E", "\uFEFF", "é", "\x1B"}) {
    EXPECT_EQ(python_strip(letter), letter);
  }
}

// Expected values are Python 3.11's str.capitalize.
TEST(PythonText, CapitalizesAsPythonDoes) {
  for (const auto& [text, capitalized] :
       std::vector<std::pair<const char*, const char*>>{{"", ""},
                                                        {"then HE goes", "Then he goes"},
                                                        {"élan ÉTÉ", "Élan été"},
                                                        {"ÉLAN", "Élan"},
                                                        {"ßa", "Ssa"},
                                                        {"ŉx", "ʼNx"},
                                                        {"ǆ", "ǅ"},
                                                        {"ﬁn", "Fin"},
                                                        {"ΟΔΟΣ", "Οδος"},
                                                        {"ΟΔΟΣ.", "Οδος."},
                                                        {"ΟΣΑ Σ", "Οσα σ"},
                                                        {"xİ", "Xi̇"},
                                                        {"1 ABC", "1 abc"},
                                                        {"日本", "日本"}}) {
    EXPECT_EQ(python_capitalize(text), capitalized) << text;
  }
}

}  // namespace
}  // namespace spd
