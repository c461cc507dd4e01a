// What is written goes where `cat > FILE` would send it, whole or not at all.
#include "runtime/report/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

template <class Call>
void expect_error(ErrorCode code, Call&& call, const std::vector<std::string>& parts) {
  try {
    call();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& part : parts) EXPECT_THAT(error.what(), HasSubstr(part));
    EXPECT_THAT(error.what(), HasSubstr("\n  remedy: "));
  }
}

class OutputFiles : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return dir_.path() / name; }
  static void write(const fs::path& file, std::string_view text) {
    OutputFile("--json", file, OutputKind::any).write(text);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& entry : fs::directory_iterator(dir_.path())) {
      all.push_back(entry.path().filename());
    }
    return all;
  }

  TempDir dir_;
};

TEST_F(OutputFiles, TakeTheOldOnesPlaceAndPermissions) {
  dir_.write("r.json", "old");
  ::chmod(at("r.json").c_str(), 0640);
  fs::create_hard_link(at("r.json"), at("kept"));
  write(at("r.json"), "new");
  EXPECT_EQ(text_of(at("r.json")), "new");
  EXPECT_EQ(text_of(at("kept")), "old") << "written over, not replaced";
  struct stat status {};
  ASSERT_EQ(::stat(at("r.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);

  const mode_t mask = ::umask(027);
  write(at("fresh"), "x");
  ::umask(mask);
  ASSERT_EQ(::stat(at("fresh").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);
  EXPECT_THAT(names(), testing::UnorderedElementsAre("r.json", "kept", "fresh"));
}

TEST_F(OutputFiles, AreWrittenAgainAndAgain) {
  const OutputFile file("--json", at("a/b/r.json"), OutputKind::regular);
  EXPECT_TRUE(file.is_replaced());
  for (const char* text : {"one", "two, longer", "3"}) {
    file.write(text);
    EXPECT_EQ(text_of(at("a/b/r.json")), text);
  }
}

TEST_F(OutputFiles, AreRefusedBeforeTheWork) {
  dir_.write("file", "");
  fs::create_directory(at("folder"));
  fs::create_symlink("round", at("round"));
  struct Case {
    fs::path file;
    std::string reason;
  };
  for (const Case& bad :
       {Case{at("folder"), "Is a directory"}, Case{at("nowhere/"), "Is a directory"},
        Case{at("file/r.json"), "Not a directory"},
        Case{at("round"), "Too many levels of symbolic links"},
        Case{at(std::string(300, 'x')), "File name too long"},
        Case{"/proc/r.json", "No such file or directory"}}) {
    expect_error(ErrorCode::system, [&] { OutputFile("--plot", bad.file, OutputKind::any); },
                 {"--plot " + bad.file.string(), "cannot be written: " + bad.reason});
  }
  EXPECT_THAT(names(), testing::UnorderedElementsAre("file", "folder", "round"));
}

TEST_F(OutputFiles, RespectPermissions) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write everything";
  dir_.write("mine", "old");
  ::chmod(at("mine").c_str(), 0444);
  fs::create_directory(at("closed"));
  ::chmod(at("closed").c_str(), 0555);
  for (const char* name : {"mine", "closed/r.json"}) {
    expect_error(ErrorCode::system, [&] { OutputFile("--json", at(name), OutputKind::any); },
                 {name, "Permission denied", "permissions"});
  }
  ::chmod(at("closed").c_str(), 0755);
}

TEST_F(OutputFiles, GoThroughSymbolicLinks) {
  fs::create_directory(at("far"));
  dir_.write("far/target", "old");
  fs::create_symlink("far/target", at("link"));
  fs::create_symlink("link", at("link2"));
  fs::create_symlink("far/fresh", at("dangling"));
  write(at("link2"), "new");
  write(at("dangling"), "new, too");
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_TRUE(fs::is_symlink(at("link2")));
  EXPECT_TRUE(fs::is_symlink(at("dangling")));
  EXPECT_EQ(text_of(at("far/target")), "new");
  EXPECT_EQ(text_of(at("far/fresh")), "new, too");
}

TEST_F(OutputFiles, FollowNoPlantedLinks) {
  dir_.write("victim", "precious");
  for (const char* planted : {"r.json.part", "r.json.tmp", ".r.json.lock"}) {
    fs::create_symlink("victim", at(planted));
  }
  write(at("r.json"), "new");
  EXPECT_EQ(text_of(at("victim")), "precious");
  EXPECT_EQ(text_of(at("r.json")), "new");
}

TEST_F(OutputFiles, LeaveTheOldOneWhereTheNewOneDoesNotFit) {
  dir_.write("r.json", "old");
  const OutputFile file("--json", at("r.json"), OutputKind::any);
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit small = before;
  small.rlim_cur = 4096;
  ::setrlimit(RLIMIT_FSIZE, &small);
  expect_error(ErrorCode::system, [&] { file.write(std::string(10'000, 'x')); },
               {"--json", "r.json", "File too large"});
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(text_of(at("r.json")), "old");
  EXPECT_THAT(names(), testing::UnorderedElementsAre("r.json", ".r.json.lock"));
}

TEST_F(OutputFiles, WhatIsNotCommittedLeavesNothing) {
  {
    FileWriter writer(at("r.json"));
    writer.write("half of");
  }
  EXPECT_TRUE(names().empty());
}

// Devices of the test's own: a program that is wrong must not replace the machine's.
TEST_F(OutputFiles, WriteThroughDevices) {
  if (::mknod(at("full").c_str(), S_IFCHR | 0666, ::makedev(1, 7)) != 0 ||
      ::mknod(at("null").c_str(), S_IFCHR | 0666, ::makedev(1, 3)) != 0 ||
      ::access(at("full").c_str(), W_OK) != 0) {
    GTEST_SKIP() << "devices can be made by root only";
  }
  if (const int trial = ::open(at("null").c_str(), O_WRONLY); trial < 0) {
    GTEST_SKIP() << "devices do not work in this folder";
  } else {
    ::close(trial);
  }
  const OutputFile full("--json", at("full"), OutputKind::any);
  EXPECT_FALSE(full.is_replaced());
  expect_error(ErrorCode::system, [&] { full.write("x"); }, {"full", "No space left on device"});
  write(at("null"), "x");
  EXPECT_TRUE(fs::is_character_file(at("full")));
  EXPECT_TRUE(fs::is_character_file(at("null")));
  expect_error(ErrorCode::usage, [&] { OutputFile("--out", at("null"), OutputKind::regular); },
               {"--out", "no regular file"});
}

TEST_F(OutputFiles, WriteToFifosThatAreRead) {
  ASSERT_EQ(::mkfifo(at("fifo").c_str(), 0600), 0);
  std::string got;
  const std::string sent(200'000, 'y');  // more than a pipe holds
  std::thread reader([&] { got = text_of(at("fifo")); });
  write(at("fifo"), sent);
  reader.join();
  EXPECT_EQ(got, sent);
  EXPECT_TRUE(fs::is_fifo(at("fifo")));
  const auto begin = std::chrono::steady_clock::now();
  expect_error(ErrorCode::system, [&] { OutputFile("--json", at("fifo"), OutputKind::any); },
               {"fifo", "nobody has opened for reading"});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(15));
}

// As --json /dev/stdout with stdout in a file: behind what was printed, not over it.
TEST_F(OutputFiles, WriteToOwnDescriptors) {
  const int descriptor = ::open(at("log").c_str(), O_CREAT | O_WRONLY, 0600);
  ASSERT_EQ(::write(descriptor, "printed\n", 8), 8);
  fs::create_symlink(fmt::format("/proc/self/fd/{}", descriptor), at("link"));
  write(fmt::format("/dev/fd/{}", descriptor), "one\n");
  write(at("link"), "two\n");
  ::close(descriptor);
  EXPECT_EQ(text_of(at("log")), "printed\none\ntwo\n");
}

TEST_F(OutputFiles, HaveNamesOfAnyBytes) {
  const fs::path file = at("p\xff\xfe.json");
  OutputFile("--json", file, OutputKind::any).write_json({{"path", file.string()}});
  EXPECT_THAT(text_of(file), HasSubstr("p\uFFFD\uFFFD.json"));
}

TEST_F(OutputFiles, AreNotWrittenByTwo) {
  {
    const OutputFile first("--out", at("p.json"), OutputKind::any);
    fs::create_symlink("p.json", at("same"));
    for (const char* name : {"p.json", "same"}) {
      expect_error(ErrorCode::usage, [&] { OutputFile("--out", at(name), OutputKind::any); },
                   {"--out", "p.json", "another job"});
    }
    write(at("other.json"), "free");
  }
  write(at("p.json"), "now it is free");
  EXPECT_FALSE(fs::exists(at(".p.json.lock")));
}

TEST_F(OutputFiles, AreFreeWhenTheirWriterIsKilled) {
  const pid_t child = ::fork();
  if (child == 0) {
    const OutputFile held("--out", at("p.json"), OutputKind::any);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  write(at("p.json"), "free");
  EXPECT_THAT(names(), testing::ElementsAre("p.json"));
}

}  // namespace
}  // namespace spd
