// Reading tests/fixtures/tokenizer, which scripts/fixtures/tokenizer.py describes.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/device/error.h"
#include "model/tokenizer/tokenizer.h"

namespace spd::test {

inline std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(SPD_FIXTURES) / "tokenizer" / name;
}

inline std::string read_file(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  EXPECT_TRUE(stream.good()) << file;
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_file(const std::filesystem::path& file, std::string_view text) {
  std::ofstream(file, std::ios::binary) << text;
}

inline nlohmann::json read_json(const std::string& name) {
  return nlohmann::json::parse(read_file(fixture(name)));
}

inline std::vector<TokenId> read_u16(const std::filesystem::path& file) {
  const std::string bytes = read_file(file);
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
    ids.push_back(static_cast<unsigned char>(bytes[i]) | static_cast<unsigned char>(bytes[i + 1])
                                                             << 8);
  }
  return ids;
}

inline std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

/// `tokenizer` makes of the mixed text what the reference library made of it, whole, line by line
/// and back again, as fixture `name` says. `add_special`: what the ids there were made with.
inline void expect_as_reference(const Tokenizer& tokenizer, const std::string& name,
                                bool add_special) {
  const std::string text = read_file(fixture("mixed.txt"));
  const std::vector<TokenId> ids = tokenizer.encode(text, add_special);
  const std::vector<TokenId> expected = read_u16(fixture(name) / "text.u16");
  ASSERT_FALSE(expected.empty());
  EXPECT_EQ(ids, expected);

  const std::vector<TokenId> by_line = read_u16(fixture(name) / "lines.u16");
  std::size_t at = 0;
  for (const std::string& line : split_lines(text)) {
    ASSERT_LT(at, by_line.size());
    const auto count = static_cast<std::size_t>(by_line[at++]);
    ASSERT_LE(at + count, by_line.size());
    const auto first = by_line.begin() + static_cast<std::ptrdiff_t>(at);
    const std::vector<TokenId> line_ids(first, first + static_cast<std::ptrdiff_t>(count));
    EXPECT_EQ(tokenizer.encode(line, add_special), line_ids) << "line: " << line;
    at += count;
  }
  EXPECT_EQ(at, by_line.size());

  const auto decoded = fixture(name) / "decoded.txt";
  const bool differs = std::filesystem::exists(decoded);
  EXPECT_EQ(tokenizer.decode(ids, false), differs ? read_file(decoded) : text);

  for (const nlohmann::json& entry :
       nlohmann::json::parse(read_file(fixture(name) / "decode.json"))) {
    const auto sequence = entry[0].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer.decode(sequence, false), entry[1].get<std::string>()) << entry[0];
    EXPECT_EQ(tokenizer.decode(sequence, true), entry[2].get<std::string>()) << entry[0];
  }
}

/// Runs `action`, which must throw an Error with this code whose message contains every part.
template <class Action>
void expect_error(ErrorCode code, const std::vector<std::string>& parts, Action action) {
  try {
    action();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
          << "\"" << part << "\" is not in: " << error.what();
    }
  }
}

/// An empty folder, gone at the end.
class ScratchDir {
 public:
  ScratchDir() {
    std::string name = (std::filesystem::temp_directory_path() / "spd-tokenizer-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw Error(ErrorCode::system, "no scratch folder");
    path_ = name;
  }
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  ~ScratchDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string random_bytes(std::mt19937& random, std::size_t longest) {
  std::string bytes(random() % (longest + 1), '\0');
  for (char& byte : bytes) {
    // Half ASCII, so that words, spaces and broken characters meet.
    byte = static_cast<char>(random() % 2 == 0 ? random() % 128 : random() % 256);
  }
  return bytes;
}

}  // namespace spd::test
