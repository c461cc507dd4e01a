#include "model/tokenizer/file_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "kernels/device/utf8.h"

namespace spd {
namespace {

// The first characters that are no white space, in lower case.
std::string beginning(std::string_view content) {
  constexpr std::string_view kSpace = " \t\r\n";
  constexpr std::size_t kEnough = 64;
  content.remove_prefix(std::min(content.find_first_not_of(kSpace), content.size()));
  std::string text(content.substr(0, kEnough));
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

std::string name_other_kind(std::string_view content) {
  using namespace std::string_view_literals;
  struct Kind {
    std::string_view begins;
    const char* name;
  };
  constexpr Kind kBytes[] = {
      {"\x1F\x8B"sv, "a gzip archive"},
      {"PK\x03\x04"sv, "a zip archive"},
      {"\xFD\x37zXZ"sv, "an xz archive"},
      {"\x28\xB5\x2F\xFD"sv, "a zstd archive"},
      {"GGUF"sv, "a GGUF model"},
      {"\xFF\xFE"sv, "text in UTF-16, not UTF-8"},
      {"\xFE\xFF"sv, "text in UTF-16, not UTF-8"},
      {"version https://git-lfs"sv, "a Git LFS pointer, not the file that it stands for"},
  };
  if (content.empty()) return "empty";
  for (const Kind& kind : kBytes) {
    if (content.starts_with(kind.begins)) return kind.name;
  }
  const std::string text = beginning(content);
  if (text.empty()) return "nothing but white space";
  for (const char* page : {"<!doctype html", "<html", "<?xml", "<head"}) {
    if (text.starts_with(page)) return "a web page, as servers send in the place of a file";
  }
  return "";
}

void refuse_other_kinds(const std::filesystem::path& file, std::string_view content,
                        const std::string& wanted) {
  std::string kind = name_other_kind(content);
  if (kind.empty() && content.find('\0') != std::string_view::npos) {
    kind = "no text: it has a zero byte";
  }
  if (kind.empty()) return;
  throw Error(ErrorCode::input, fmt::format("{}: is {}", file.string(), kind),
              "put " + wanted + " in its place (of a repository with Git LFS: git lfs pull)");
}

std::string quoted_text(std::string_view text) {
  constexpr std::size_t kMostShown = 60;
  const bool whole = text.size() <= kMostShown;
  if (!whole) text = text.substr(0, whole_characters(text.substr(0, kMostShown)));
  const std::string json =
      nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return printable(json) + (whole ? "" : "...");
}

}  // namespace spd
