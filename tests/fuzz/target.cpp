#include "tests/fuzz/target.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>
#include <stdexcept>

#include "kernels/device/error.h"

namespace spd::fuzz {
namespace {

std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::logic_error("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

const std::vector<Target>& targets() {
  static const std::vector<Target> all = [] {
    std::vector<Target> joined;
    for (const auto& layer :
         {model_targets(), tokenizer_targets(), plan_targets(), runtime_targets()}) {
      joined.insert(joined.end(), layer.begin(), layer.end());
    }
    return joined;
  }();
  return all;
}

bool accepts(const Target& target, std::string_view input, const std::filesystem::path& folder) {
  try {
    target.run(input, folder);
    return true;
  } catch (const Error& error) {
    touch(error.what());
    return false;
  }
}

void contradict(const std::string& what) { throw std::logic_error(what); }

void touch(std::string_view bytes) {
  [[maybe_unused]] static volatile unsigned sink = 0;
  sink = std::accumulate(bytes.begin(), bytes.end(), 0U);
}

std::vector<std::string> parts_of(std::string_view input, std::size_t count) {
  std::vector<std::string> parts(count);
  std::size_t begin = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t end =
        i + 1 < count ? std::min(input.find(kPartEnd, begin), input.size()) : input.size();
    parts[i] = input.substr(begin, end - begin);
    begin = std::min(end + 1, input.size());
  }
  return parts;
}

std::string join_parts(const std::vector<std::string>& parts) {
  std::string joined;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) joined += kPartEnd;
    joined += parts[i];
  }
  return joined;
}

std::string fixture(const std::string& name) {
  return text_of(std::filesystem::path(SPD_FIXTURES) / name);
}

std::string fixture_head(const std::string& name, std::size_t bytes) {
  return fixture(name).substr(0, bytes);
}

std::string source_file(const std::string& name) {
  return text_of(std::filesystem::path(SPD_SOURCE_DIR) / name);
}

std::string read_back(const std::filesystem::path& file) {
  std::string text = text_of(file);
  std::filesystem::remove(file);
  return text;
}

void write(const std::filesystem::path& file, std::string_view bytes) {
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) throw std::logic_error("cannot write " + file.string());
}

void write_or_remove(const std::filesystem::path& file, std::string_view bytes) {
  std::filesystem::remove(file);
  if (!bytes.empty()) write(file, bytes);
}

}  // namespace spd::fuzz
