#include "model/checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <thread>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

constexpr std::size_t kBytes = 1 << 20;
constexpr int kInputStatus = 3;

unsigned sum_of(const MappedFile& file) {
  unsigned sum = 0;
  for (std::size_t i = 0; i < file.bytes(); i += 512) {
    sum += static_cast<const volatile unsigned char&>(
        reinterpret_cast<const unsigned char&>(file.data()[i]));
  }
  return sum;
}

// In a process of its own: reads a file that was cut to `bytes_left` after it was mapped.
[[noreturn]] void read_cut(const std::filesystem::path& path, std::size_t bytes_left,
                           const std::string& reader, bool on_thread) {
  const MappedFile other(path);  // mappings come and go before and beside the one that fails
  { const MappedFile gone(path); }
  const MappedFile file(path);
  name_reader(reader, on_thread);
  std::filesystem::resize_file(path, bytes_left);
  if (on_thread) {
    std::thread([&] { sum_of(file); }).join();
  } else {
    sum_of(file);
  }
  std::_Exit(0);
}

TEST(MappedFile, HoldsTheFile) {
  const TempDir dir;
  const auto path = dir.write("f", std::string(kBytes, 1));
  MappedFile first(path);
  const MappedFile file(std::move(first));
  EXPECT_EQ(file.path(), path);
  EXPECT_EQ(file.bytes(), kBytes);
  EXPECT_EQ(sum_of(file), kBytes / 512);
}

using MappedFileDeathTest = testing::Test;

TEST(MappedFileDeathTest, AFileThatShrinksIsNamedAndItsReader) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TempDir dir;
  const auto path = dir.write("weights", std::string(kBytes, 1));
  EXPECT_EXIT(read_cut(path, 4096, "rank 3", false), testing::ExitedWithCode(kInputStatus),
              "^spd: rank 3: [^\n]*/weights: a part of it that was there is gone: [^\n]*\n"
              "  remedy: [^\n]*\n$");
}

TEST(MappedFileDeathTest, ThreadsAreNamedByTheirProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TempDir dir;
  const auto path = dir.write("weights", std::string(kBytes, 1));
  EXPECT_EXIT(read_cut(path, 0, "rank 1", true), testing::ExitedWithCode(kInputStatus),
              "^spd: rank 1: [^\n]*/weights: ");
}

TEST(MappedFileDeathTest, LongNamesAreCutAndControlCharactersShown) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TempDir dir;
  auto path = dir.path();
  for (int i = 0; i < 6; ++i) path /= std::string(200, 'd');
  std::filesystem::create_directories(path);
  path /= "a\x1b[2Jb";
  std::ofstream(path) << std::string(kBytes, 1);
  EXPECT_EXIT(read_cut(path, 0, "", false), testing::ExitedWithCode(kInputStatus),
              "^spd: d+/.*/a.x1b.2Jb: a part");
}

// Other bus errors stay what they were.
TEST(MappedFileDeathTest, OtherSignalsAreNotItsOwn) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const TempDir dir;
  const auto path = dir.write("f", "x");
  EXPECT_EXIT(
      {
        const MappedFile file(path);
        raise(SIGBUS);
        raise(SIGBUS);
        std::_Exit(0);
      },
      // A sanitizer's own handler exits instead.
      [](int status) { return WIFSIGNALED(status) || WEXITSTATUS(status) != kInputStatus; }, "");
}

TEST(MappedFile, TellsWhetherItWasWrittenTo) {
  const TempDir dir;
  const auto path = dir.write("f", std::string(100, 1));
  const MappedFile file(path);
  EXPECT_NO_THROW(file.check_unchanged());
  dir.write("g", std::string(100, 2));
  const MappedFile replaced(dir.path() / "g");
  std::filesystem::rename(path, dir.path() / "h");  // the name is gone, the content is not
  EXPECT_NO_THROW(file.check_unchanged());
  dir.write("f", std::string(100, 3));  // another file of that name
  EXPECT_NO_THROW(file.check_unchanged());
  std::ofstream(dir.path() / "g", std::ios::in | std::ios::out) << "abc";
  const timespec times[2] = {{1, 0}, {2, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (dir.path() / "g").c_str(), times, 0), 0);
  expect_input_error([&] { replaced.check_unchanged(); }, {"g: was written to while it was read"});
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  const TempDir dir;
  expect_input_error([&] { MappedFile{dir.path()}; }, {dir.path().string(), "not a file"});
  expect_input_error([&] { MappedFile{"/dev/zero"}; }, {"/dev/zero: is not a file"});
  expect_input_error([&] { MappedFile{dir.write("e", "")}; }, {"e: is empty"});
  expect_input_error([&] { MappedFile{dir.path() / "none"}; },
                     {"none: cannot be read: No such file"});
  const auto fifo = dir.path() / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  expect_input_error([&] { MappedFile{fifo}; }, {"fifo: is not a file"});
}

}  // namespace
}  // namespace spd
