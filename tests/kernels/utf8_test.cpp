#include "kernels/device/utf8.h"

#include <gtest/gtest.h>

#include "kernels/device/printable.h"

namespace spd {
namespace {

using namespace std::string_view_literals;

// Unicode 15.0, tables 3-7 to 3-11: what is well formed, and how much of the rest is one part.
TEST(Utf8, LengthsAreOfWellFormedSequencesAndOfMaximalParts) {
  struct Case {
    std::string_view text;
    std::ptrdiff_t length;
    char32_t value;  // 0: ill-formed
  };
  for (const Case& c : {Case{"a", 1, 'a'},
                        {"\0"sv, 1, 0},
                        {"\xC2\x80", 2, 0x80},
                        {"\xDF\xBF", 2, 0x7FF},
                        {"\xE0\xA0\x80", 3, 0x800},
                        {"\xED\x9F\xBF", 3, 0xD7FF},
                        {"\xEE\x80\x80", 3, 0xE000},
                        {"\xF0\x90\x80\x80", 4, 0x10000},
                        {"\xF4\x8F\xBF\xBF", 4, 0x10FFFF},
                        {"\x80", -1, 0},
                        {"\xC0\xAF", -1, 0},
                        {"\xC2", -1, 0},
                        {"\xC2\x41", -1, 0},
                        {"\xE0\x9F\xBF", -1, 0},
                        {"\xED\xA0\x80", -1, 0},
                        {"\xE2\x82", -2, 0},
                        {"\xF0\x80\x80\x80", -1, 0},
                        {"\xF4\x90\x80\x80", -1, 0},
                        {"\xF0\x90\x80\x41", -3, 0},
                        {"\xF5\x80\x80\x80", -1, 0},
                        {"\xFF", -1, 0}}) {
    EXPECT_EQ(well_formed_length(c.text, 0), c.length) << printable(c.text);
    if (c.length < 0) continue;
    EXPECT_EQ(code_point_at(c.text, 0).value, c.value);
    EXPECT_EQ(code_point_at(c.text, 0).bytes, static_cast<std::size_t>(c.length));
    std::string again;
    append_utf8(again, c.value);
    EXPECT_EQ(again, c.text);
  }
}

TEST(Printable, EscapesWhatSteersATerminalOrIsNoText) {
  const std::pair<std::string_view, const char*> cases[] = {
      {"plain\ttext\n\xC3\xA9\xF0\x9F\x98\xBA", "plain\ttext\n\xC3\xA9\xF0\x9F\x98\xBA"},
      {"\x1B[2J\r\0\x7F"sv, "\\x1b[2J\\x0d\\x00\\x7f"},
      {"\xC2\x9B"
       "1m",
       "\\u009b1m"},
      {"a\xE2\x80\xAE"
       "b",
       "a\\u202eb"},
      {"\xFF\xC3", "\\xff\\xc3"},
      {"\xED\xA0\x80", "\\xed\\xa0\\x80"},
      {"\xF0\x90\x80", "\\xf0\\x90\\x80"},
  };
  for (const auto& [text, shown] : cases) EXPECT_EQ(printable(text), shown);
}

}  // namespace
}  // namespace spd
