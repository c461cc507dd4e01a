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

}  // namespace
}  // namespace spd
