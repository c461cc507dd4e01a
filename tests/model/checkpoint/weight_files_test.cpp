#include "model/checkpoint/weight_files.h"

#include "tests/model/temp_dir.h"

namespace spd {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

struct Folder {
  explicit Folder(const std::vector<std::string>& names) {
    for (const std::string& name : names) dir.write(name, "x");
  }
  TempDir dir;
};

TEST(WeightFiles, AreFoundInTheOrderOfTransformers) {
  struct Row {
    std::vector<std::string> there;
    std::string index;
    std::vector<std::string> files;
    std::string note;
  };
  const std::string one = "model-00001-of-00001.safetensors";
  const std::string first = "model-00001-of-00002.safetensors";
  const std::string second = "model-00002-of-00002.safetensors";
  const std::vector<Row> rows{
      {{kSingle}, "", {kSingle}, ""},
      {{kIndex, first, second}, kIndex, {}, ""},
      {{kSingle, kIndex}, "", {kSingle}, "the former is used"},
      {{kSingle, kIndex, first, second}, "", {kSingle}, "the former is used"},
      {{kSingle, first, "pytorch_model.bin"}, "", {kSingle}, ""},
      {{one}, "", {one}, ""},
      {{first, second, "pytorch_model.bin"}, "", {first, second}, "all 2 shards are there"},
      {{"model-00001-of-x.safetensors", one}, "", {one}, ""},
  };
  for (const Row& row : rows) {
    const Folder folder(row.there);
    const WeightFiles found = find_weight_files(folder.dir.path());
    EXPECT_EQ(found.index, row.index.empty() ? fs::path() : folder.dir.path() / row.index);
    std::vector<std::string> names;
    for (const fs::path& file : found.files) names.push_back(file.filename());
    EXPECT_EQ(names, row.files);
    ASSERT_EQ(found.notes.size(), row.note.empty() ? 0U : 1U);
    for (const std::string& note : found.notes) EXPECT_THAT(note, testing::HasSubstr(row.note));
  }
}

TEST(WeightFiles, WhatIsThereInsteadIsNamedWithARemedy) {
  struct Row {
    std::vector<std::string> there;
    std::vector<std::string> parts;
  };
  const std::vector<Row> rows{
      {{}, {"neither model.safetensors nor", "is there\n", "remedy: download the weights"}},
      {{"README.md", "config.json"}, {"is there\n"}},
      {{"model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"},
       {"index.json is missing",
        "(of 3) 2 are there: model-00001-of-00003.safetensors, model-00003",
        "download the other shards"}},
      {{"model-00002-of-00002.safetensors"}, {"(of 2) one is there"}},
      {{"model-00001-of-00001.safetensors", "model-00001-of-00002.safetensors"},
       {"of several sets 2 are there"}},
      {{"pytorch_model.bin"}, {"but pytorch_model.bin\n", "save_pretrained"}},
      {{"pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"}, {"save_pretrained"}},
      {{"llama.Q4_K_M.gguf"}, {"but llama.Q4_K_M.gguf\n", "gguf_file"}},
      {{"consolidated.safetensors", "params.json"}, {"consolidated", "publisher's own format"}},
      {{"consolidated.00.pth"}, {"publisher's own format"}},
      {{"adapter_model.safetensors", "adapter_config.json"}, {"adapter: merge it"}},
      {{"model.fp16.safetensors"}, {"model.fp16.safetensors", "rename or link it"}},
  };
  for (const Row& row : rows) {
    const Folder folder(row.there);
    std::vector<std::string> parts = row.parts;
    parts.push_back(folder.dir.path().string() + ": ");
    expect_input_error([&] { find_weight_files(folder.dir.path()); }, parts);
  }
}

TEST(WeightFiles, FoldersAndLinksThatLeadNowhereAreNamed) {
  const TempDir dir;
  expect_input_error([&] { find_weight_files(dir.path() / "none"); }, {"none: no such directory"});
  expect_input_error([&] { find_weight_files(dir.write("file", "x")); },
                     {"file: cannot be looked into: Not a directory"});
  fs::create_symlink("nowhere", dir.path() / kSingle);
  expect_input_error([&] { find_weight_files(dir.path()); }, {"model.safetensors: is a link"});
  fs::create_symlink(kIndex, dir.path() / kIndex);
  fs::remove(dir.path() / kSingle);
  expect_input_error([&] { find_weight_files(dir.path()); }, {kIndex, "symbolic links"});
}

}  // namespace
}  // namespace spd
