#include "kernels/device/error.h"

#include <gtest/gtest.h>

namespace spd {
namespace {

TEST(Error, HasAMessageAndARemedy) {
  const Error whole(ErrorCode::input, "file: wrong", "mend it");
  EXPECT_STREQ(whole.what(), "file: wrong\n  remedy: mend it");
  EXPECT_EQ(whole.message(), "file: wrong");
  EXPECT_EQ(whole.remedy(), "mend it");
  const Error bare(ErrorCode::usage, "wrong");
  EXPECT_STREQ(bare.what(), "wrong");
  EXPECT_EQ(bare.message(), "wrong");
  EXPECT_EQ(bare.remedy(), "");
  EXPECT_EQ(Error(whole).remedy(), "mend it");
}

TEST(Error, ShowsZeroBytes) {
  const std::string name("one\0two", 7);
  const Error error(ErrorCode::input, name + ": wrong", "mend " + name);
  EXPECT_STREQ(error.what(), "one\\0two: wrong\n  remedy: mend one\\0two");
  EXPECT_EQ(error.message(), "one\\0two: wrong");
  EXPECT_EQ(error.remedy(), "mend one\\0two");
}

}  // namespace
}  // namespace spd
