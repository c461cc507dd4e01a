#include "model/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/model/checkpoint/good_safetensors.h"
#include "tests/model/temp_dir.h"

namespace spd {
namespace {

using testing::ElementsAre;

TEST(Safetensors, ReadsWhatIsThere) {
  const TempDir dir;
  const auto path = dir.write("good.safetensors", good_file());
  const SafetensorsFile file(path);
  EXPECT_EQ(file.path(), path);
  EXPECT_THAT(file.names(), ElementsAre("a", "b.weight", "c", "ids", "none"));
  EXPECT_TRUE(file.contains("b.weight"));
  EXPECT_FALSE(file.contains("__metadata__"));

  struct Row {
    const char* name;
    DType dtype;
    std::vector<std::int64_t> shape;
    std::size_t offset;
    std::size_t bytes;
  };
  const std::string data = good_data();
  for (const Row& row :
       {Row{"a", DType::f32, {2, 3}, 0, 24}, Row{"b.weight", DType::bf16, {5}, 24, 10},
        Row{"c", DType::f16, {1, 2, 1}, 34, 4}, Row{"none", DType::f32, {0, 7}, 46, 0}}) {
    const TensorEntry& entry = file.at(row.name);
    EXPECT_EQ(entry.dtype, row.dtype) << row.name;
    EXPECT_EQ(entry.shape, row.shape) << row.name;
    ASSERT_EQ(entry.bytes, row.bytes) << row.name;
    EXPECT_EQ(std::memcmp(entry.data, data.data() + row.offset, row.bytes), 0) << row.name;
  }
}

TEST(Safetensors, EntriesOutliveAMove) {
  const TempDir dir;
  SafetensorsFile first(dir.write("good.safetensors", good_file()));
  const std::byte* data = first.at("a").data;
  const SafetensorsFile second(std::move(first));
  EXPECT_EQ(second.at("a").data, data);
  EXPECT_EQ(std::to_integer<int>(data[23]), 24);
}

TEST(Safetensors, AskingForWhatIsNotThereNamesTheFile) {
  const TempDir dir;
  const auto path = dir.write("good.safetensors", good_file());
  const SafetensorsFile file(path);
  expect_input_error([&] { file.at("d"); }, {path.string(), "no tensor \"d\""});
  expect_input_error([&] { file.at("ids"); }, {path.string(), "tensor \"ids\"", "I64"});
}

// What safetensors 0.8 opens: what is not asked for may be of any of its types.
TEST(Safetensors, OpensWhatTheLibraryOpens) {
  struct Row {
    const char* dtype;
    const char* shape;
    std::size_t bytes;
  };
  for (const Row& row :
       {Row{"BOOL", "[3]", 3}, Row{"U8", "[1]", 1}, Row{"I8", "[1]", 1}, Row{"F4", "[2]", 1},
        Row{"F6_E2M3", "[4]", 3}, Row{"F6_E3M2", "[4]", 3}, Row{"F8_E5M2", "[2]", 2},
        Row{"F8_E4M3", "[2]", 2}, Row{"F8_E8M0", "[2]", 2}, Row{"F8_E4M3FNUZ", "[2]", 2},
        Row{"F8_E5M2FNUZ", "[2]", 2}, Row{"I16", "[1]", 2}, Row{"U16", "[1]", 2},
        Row{"I32", "[1]", 4}, Row{"U32", "[1]", 4}, Row{"C64", "[1]", 8}, Row{"F64", "[1]", 8},
        Row{"I64", "[]", 8}, Row{"U64", "[0]", 0}}) {
    SCOPED_TRACE(row.dtype);
    const TempDir dir;
    const std::string header = R"({"__metadata__":null,"t":{"dtype":")" + std::string(row.dtype) +
                               R"(","shape":)" + row.shape + R"(,"data_offsets":[0,)" +
                               std::to_string(row.bytes) + "]}}";
    const SafetensorsFile file(
        dir.write("f", safetensors_text(header, std::string(row.bytes, 'x'))));
    EXPECT_THAT(file.names(), ElementsAre("t"));
    EXPECT_TRUE(file.metadata().empty());
    EXPECT_FALSE(file.is_usable("t"));
    expect_input_error([&] { file.at("t"); }, {row.dtype, "not supported"});
  }
}

TEST(Safetensors, DamagedFilesComeWithTheCallersRemedy) {
  const TempDir dir;
  const std::string cut = good_file().substr(0, 100);
  const auto path = dir.write("f", cut);
  expect_input_error([&] { SafetensorsFile{path}; }, {"remedy: download or convert"});
  expect_input_error([&] { SafetensorsFile(path, "repair again"); }, {"remedy: repair again"});
  dir.write("f", safetensors_text("{", ""));
  expect_input_error([&] { SafetensorsFile(path, "repair again"); },
                     {"f: header: not valid JSON: line 1, column 2", "remedy: repair again"});
  dir.write("f", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n");
  expect_input_error([&] { SafetensorsFile{path}; }, {"f: is a Git LFS pointer", "git lfs pull"});
}

// One byte of header more, and every element lies across a boundary.
TEST(Safetensors, MisalignedDataAreListedButNotHandedOut) {
  const TempDir dir;
  const auto path =
      dir.write("odd.safetensors", safetensors_text(padded_header() + ' ', good_data()));
  const SafetensorsFile file(path);
  EXPECT_TRUE(file.contains("a"));
  for (const char* name : {"a", "b.weight", "c"}) {
    expect_input_error([&] { file.at(name); }, {path.string(), name, "aligned"});
  }
}

// ---- bad files, each refused with one message ----

TEST(Safetensors, RefusesAFileCutAnywhere) {
  const TempDir dir;
  const std::string whole = good_file();
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    SCOPED_TRACE(bytes);
    const auto path = dir.write("cut.safetensors", std::string_view(whole).substr(0, bytes));
    expect_input_error([&] { SafetensorsFile{path}; }, {path.string()});
  }
  const auto path = dir.write("cut.safetensors", whole.substr(0, whole.size() - 1));
  expect_input_error([&] { SafetensorsFile{path}; }, {"tensor \"ids\"", "truncated"});
}

TEST(Safetensors, RefusesHeadersThatLie) {
  struct Row {
    std::string header;
    std::size_t data_bytes;
    std::vector<std::string> parts;
  };
  const auto one = [](const std::string& entry) { return "{\"w\":" + entry + "}"; };
  const auto two = [](const char* first, const char* second) {
    return R"({"v":{"dtype":"F32","shape":[2],"data_offsets":)" + std::string(first) +
           R"(},"w":{"dtype":"F32","shape":[2],"data_offsets":)" + second + "}}";
  };
  const std::string w = "tensor \"w\": ";
  const std::vector<Row> rows{
      // no header at all
      {"", 0, {"header: not valid JSON"}},
      {"null", 0, {"header is not a JSON object"}},
      {"[]", 0, {"header is not a JSON object"}},
      {"\"w\"", 0, {"header is not a JSON object"}},
      {"{\"w\":", 0, {"header: not valid JSON"}},
      {"{}}", 0, {"header: not valid JSON"}},
      {std::string("{}\0", 3), 0, {"header: not valid JSON"}},
      {"{\"\xff\":1}", 0, {"header: not valid JSON"}},
      {R"({"w":[[[[]]]]})", 0, {"nested deeper"}},
      {std::string(100000, '['), 0, {"nested deeper"}},
      // not a description
      {one("3"), 0, {w + "its description is not an object"}},
      {one("null"), 0, {w + "its description is not an object"}},
      {one("{}"), 0, {w + "its description has no dtype"}},
      {one(R"({"dtype":"F32","data_offsets":[0,0]})"), 0, {w, "no shape"}},
      {one(R"({"dtype":"F32","shape":[0]})"), 0, {w, "no data_offsets"}},
      {R"({"__metadata__":{"a":1}})", 0, {"__metadata__ is not an object of strings"}},
      {R"({"__metadata__":["a"]})", 0, {"__metadata__ is not an object of strings"}},
      // dtype
      {one(R"({"dtype":"F31","shape":[1],"data_offsets":[0,4]})"), 4, {w, "unknown dtype \"F31\""}},
      {one(R"({"dtype":"f32","shape":[1],"data_offsets":[0,4]})"), 4, {w, "unknown dtype"}},
      {one(R"({"dtype":32,"shape":[1],"data_offsets":[0,4]})"), 4, {w, "dtype is not a string"}},
      {one(R"({"dtype":"F4","shape":[3],"data_offsets":[0,2]})"), 2, {w, "whole bytes"}},
      // shape
      {one(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})"), 4, {w, "shape is not a list"}},
      {one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), 4, {w, "[-1]", "not a count"}},
      {one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})"), 4, {w, "not a count"}},
      {one(R"({"dtype":"F32","shape":["1"],"data_offsets":[0,4]})"), 4, {w, "not a count"}},
      {one(R"({"dtype":"F32","shape":[[1]],"data_offsets":[0,4]})"), 4, {"nested deeper"}},
      {one(R"({"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]})"),
       4,
       {w, "not a count"}},
      {one(R"({"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]})"),
       4,
       {w, "not a count"}},
      // 2^31 * 2^31 * 4 bytes wraps to 0 in 64 bits, 2^62 + 1 floats to 4 bytes
      {one(R"({"dtype":"F32","shape":[2147483648,2147483648],"data_offsets":[0,0]})"),
       0,
       {w, "too large to be true"}},
      {one(R"({"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]})"),
       4,
       {w, "too large to be true"}},
      {one(R"({"dtype":"I8","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]})"),
       0,
       {w, "too large to be true"}},
      // sizes
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})"), 8, {w, "hold 8", "take 4"}},
      {one(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"), 8, {w, "hold 8", "take 12"}},
      {one(R"({"dtype":"BF16","shape":[2,2],"data_offsets":[0,16]})"), 16, {w, "BF16", "take 8"}},
      {one(R"({"dtype":"F32","shape":[],"data_offsets":[0,0]})"), 0, {w, "hold 0", "take 4"}},
      {one(R"({"dtype":"F32","shape":[0],"data_offsets":[0,4]})"), 4, {w, "hold 4", "take 0"}},
      // offsets
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"), 4, {w, "end before they begin"}},
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[-4,0]})"), 4, {w, "not a pair"}},
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"), 4, {w, "not a pair"}},
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,8]})"), 8, {w, "not a pair"}},
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":{"0":0,"1":4}})"), 4, {w, "not a pair"}},
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[0.0,4.0]})"), 4, {w, "not a pair"}},
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})"), 3, {w, "beyond the file"}},
      {one(R"({"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,0]})"),
       4,
       {w, "end before they begin"}},
      {one(R"({"dtype":"F32","shape":[1],)"
           R"("data_offsets":[18446744073709551611,18446744073709551615]})"),
       4,
       {w, "beyond the file"}},
      // layout
      {two("[0,8]", "[12,20]"), 20, {w, "after a hole from byte 8"}},
      {two("[4,12]", "[12,20]"), 20, {"tensor \"v\": ", "after a hole from byte 0"}},
      {two("[0,8]", "[4,12]"), 12, {w, "overlaps what ends at byte 8"}},
      {two("[0,8]", "[0,8]"), 8, {w, "overlaps what ends at byte 8"}},
      {two("[8,16]", "[0,8]"), 17, {"1 bytes follow the last tensor"}},
      {"{}", 5, {"5 bytes follow the last tensor"}},
      {R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
       R"("w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       8,
       {"key \"w\" comes twice"}},
      {one(R"({"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]})"),
       4,
       {"key \"dtype\" comes twice"}},
      // names are shown so that they cannot play tricks on a terminal
      {"{\"\\u001b[2J\":3}", 0, {"tensor \"\\u001b[2J\""}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.header.substr(0, 200));
    const TempDir dir;
    const auto path = dir.write("bad.safetensors",
                                safetensors_text(row.header, std::string(row.data_bytes, 'x')));
    std::vector<std::string> parts = row.parts;
    parts.push_back(path.string() + ": ");
    expect_input_error([&] { SafetensorsFile{path}; }, parts);
  }
}

TEST(Safetensors, RefusesHeaderLengthsThatLie) {
  const TempDir dir;
  const std::string rest = good_file().substr(8);
  struct Row {
    std::uint64_t claimed;
    const char* part;
  };
  for (const Row& row : {Row{0, "not valid JSON"}, Row{1, "not valid JSON"},
                         Row{rest.size() + 1, "truncated"}, Row{100'000'000, "truncated"},
                         Row{100'000'001, "above the limit"}, Row{1ULL << 63, "above the limit"},
                         Row{~0ULL, "above the limit"}, Row{~0ULL - 7, "above the limit"}}) {
    SCOPED_TRACE(row.claimed);
    const auto path = dir.write("bad.safetensors", length_prefix(row.claimed) + rest);
    expect_input_error([&] { SafetensorsFile{path}; }, {path.string(), row.part});
  }
}

TEST(Safetensors, RefusesWhatIsNoFile) {
  const TempDir dir;
  expect_input_error([&] { SafetensorsFile{dir.path()}; }, {dir.path().string(), "not a file"});
  expect_input_error([&] { SafetensorsFile{dir.path() / "none"}; }, {"none", "No such file"});
}

}  // namespace
}  // namespace spd
