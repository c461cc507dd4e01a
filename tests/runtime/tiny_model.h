// A whole model directory of a few hundred kilobytes: random LLaMA weights from the fixtures, a
// tokenizer of one token a character, a chat template.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/model/temp_dir.h"

namespace spd {

class TinyModel {
 public:
  static constexpr std::int64_t kContext = 128;

  /// `fixture`: a model of tests/fixtures/models with at least 100 tokens.
  explicit TinyModel(const std::string& fixture = "llama") {
    for (const auto& file : std::filesystem::directory_iterator(
             std::filesystem::path(SPD_FIXTURES) / "models" / fixture)) {
      std::filesystem::copy(file, dir_.path());
    }
    nlohmann::json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {"\u0120", 3}, {"\u010A", 4}};
    for (char c = '!'; c <= '~'; ++c) vocab[std::string(1, c)] = vocab.size();
    const auto special = [](int id, const char* content) {
      return nlohmann::json{{"id", id},           {"content", content}, {"special", true},
                            {"lstrip", false},    {"rstrip", false},    {"single_word", false},
                            {"normalized", false}};
    };
    const nlohmann::json byte_level = {
        {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}};
    const nlohmann::json tokenizer = {
        {"version", "1.0"},
        {"added_tokens", {special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")}},
        {"normalizer", nullptr},
        {"pre_tokenizer", byte_level},
        {"post_processor", nullptr},
        {"decoder", byte_level},
        {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
    dir_.write("tokenizer.json", tokenizer.dump());
    const std::string chatml =
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|im_start|>assistant\n' }}{% endif %}";
    dir_.write("tokenizer_config.json",
               nlohmann::json{{"chat_template", chatml}, {"eos_token", "</s>"}}.dump());
  }

  std::string path() const { return dir_.path(); }
  std::filesystem::path file(const std::string& name) const { return dir_.path() / name; }
  std::string read(const std::string& name) const {
    std::ifstream stream(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  void write(const std::string& name, std::string_view content) const { dir_.write(name, content); }
  nlohmann::json config() const { return nlohmann::json::parse(read("config.json")); }

 private:
  TempDir dir_;
};

}  // namespace spd
