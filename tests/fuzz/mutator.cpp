#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <vector>

namespace spd::fuzz {
namespace {

using Json = nlohmann::ordered_json;
using Random = std::mt19937;

constexpr std::size_t kMostNodes = 4000;
constexpr std::size_t kMostCopied = 4000;  // bytes of a value that is put elsewhere

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::size_t below(Random& random, std::size_t count) { return random() % count; }

void collect(Json& json, std::vector<Json*>& nodes) {
  nodes.push_back(&json);
  if (!json.is_structured()) return;
  for (Json& child : json) {
    if (nodes.size() > kMostNodes) return;
    collect(child, nodes);
  }
}

// Values that readers tend to forget.
Json awkward(Random& random) {
  static const std::vector<Json> values = {
      nullptr,
      true,
      -1,
      0,
      1,
      2,
      3,
      65536,
      16777215,
      std::numeric_limits<std::int32_t>::max(),
      std::int64_t{1} << 31,
      std::int64_t{1} << 32,
      std::numeric_limits<std::int64_t>::max(),
      std::numeric_limits<std::int64_t>::min(),
      std::numeric_limits<std::uint64_t>::max(),
      1e308,
      -1e308,
      1e-320,
      0.5,
      -0.0,
      2.9,
      "",
      "a",
      "\u2581",
      "\x1b[2J",
      "\xff",
      "../../etc/hostname",
      Json::array(),
      Json::object(),
      Json::array({Json::array(), 1, "x"}),
      Json::array({1, 2, 3}),
  };
  if (below(random, 16) == 0) return std::string(1 + below(random, 300), 'a');
  return values[below(random, values.size())];
}

std::string a_word(const Target& target, Random& random) {
  std::istringstream stream(target.words);
  const std::vector<std::string> words{std::istream_iterator<std::string>(stream), {}};
  return words.empty() ? std::string(1, static_cast<char>(' ' + below(random, 95)))
                       : words[below(random, words.size())];
}

void mutate_text(const Target& target, std::string& text, Random& random) {
  const std::size_t at = below(random, text.size() + 1);
  const std::size_t length = std::min(text.size() - at, 1 + below(random, 12));
  switch (below(random, 6)) {
    case 0:
      text.insert(at, a_word(target, random));
      break;
    case 1:
      text.insert(at, a_word(target, random) + " ");
      break;
    case 2:
      text.erase(at, length);
      break;
    case 3:
      text.insert(below(random, text.size() + 1), text.substr(at, length));
      break;
    case 4:
      text.replace(at, length, a_word(target, random));
      break;
    default:
      if (at < text.size()) text[at] = static_cast<char>(' ' + below(random, 95));
  }
}

bool mutate_json_text(const Target& target, std::string& text, Random& random);

void mutate_string(const Target& target, Json& value, Random& random) {
  std::string text = value.get<std::string>();
  if (!mutate_json_text(target, text, random)) mutate_text(target, text, random);
  value = text;
}

void mutate_number(Json& value, Random& random) {
  if (value.is_number_float()) {
    static const double factors[] = {-1.0, 1e3, 1e-3, 1e300, 0.0};
    value = value.get<double>() * factors[below(random, std::size(factors))];
    return;
  }
  const auto bits = value.get<std::uint64_t>();
  switch (below(random, 3)) {
    case 0:
      value = static_cast<std::int64_t>(bits + 1);
      break;
    case 1:
      value = static_cast<std::int64_t>(bits - 1);
      break;
    default:
      value = static_cast<std::int64_t>(bits ^ (std::uint64_t{1} << below(random, 63)));
  }
}

Json* child_of(Json& parent, Random& random) {
  if (!parent.is_structured() || parent.empty()) return nullptr;
  return &*std::next(parent.begin(), static_cast<std::ptrdiff_t>(below(random, parent.size())));
}

void erase_child(Json& parent, Random& random) {
  if (parent.is_structured() && !parent.empty()) {
    parent.erase(
        std::next(parent.begin(), static_cast<std::ptrdiff_t>(below(random, parent.size()))));
  } else {
    parent = awkward(random);
  }
}

void mutate_node(const Target& target, std::vector<Json*>& nodes, Random& random) {
  Json& value = *nodes[below(random, nodes.size())];
  switch (below(random, 8)) {
    case 0:
      value = awkward(random);
      break;
    case 1:
      erase_child(value, random);
      break;
    case 2: {  // a value from elsewhere
      const Json copy = *nodes[below(random, nodes.size())];
      if (dump(copy).size() < kMostCopied) value = copy;
      break;
    }
    case 3: {  // more of the same
      const Json* child = child_of(value, random);
      if (child && value.is_array()) {
        const Json copy = *child;
        value.insert(value.end(), 1 + below(random, 4), copy);
      }
      break;
    }
    case 4:  // a key, known or new
      if (value.is_object()) value[a_word(target, random)] = awkward(random);
      break;
    case 5:
      if (value.is_array()) std::shuffle(value.begin(), value.end(), random);
      break;
    default:
      if (value.is_string()) {
        mutate_string(target, value, random);
      } else if (value.is_number()) {
        mutate_number(value, random);
      } else {
        value = awkward(random);
      }
  }
}

// Whether it is nested so deeply that this file's own recursion would not take it.
bool too_deep(const std::string& text) {
  constexpr int kMostDepth = 200;
  int depth = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kMostDepth) return true;
  }
  return false;
}

bool mutate_json_text(const Target& target, std::string& text, Random& random) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos || (text[begin] != '{' && text[begin] != '[')) return false;
  if (too_deep(text)) return false;
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return false;
  for (std::size_t i = 0, changes = 1 + below(random, 3); i < changes; ++i) {
    std::vector<Json*> nodes;
    collect(json, nodes);
    mutate_node(target, nodes, random);
  }
  text = dump(json);
  return true;
}

bool mutate_json_line(const Target& target, std::string& text, Random& random) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  if (lines.size() < 2) return false;
  const std::size_t at = below(random, lines.size());
  if (below(random, 4) == 0) {
    lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(below(random, lines.size())),
                 std::string(lines[at]));
  } else if (!mutate_json_text(target, lines[at], random)) {
    return false;
  }
  text.clear();
  for (const std::string& line : lines) text += line + '\n';
  return true;
}

// Of a safetensors file: eight bytes of length, then JSON, then data.
bool mutate_header(const Target& target, std::string& text, Random& random) {
  std::uint64_t length = 0;
  if (text.size() < sizeof length) return false;
  std::memcpy(&length, text.data(), sizeof length);
  if (length > text.size() - sizeof length) return false;
  std::string header = text.substr(sizeof length, length);
  const std::string data = text.substr(sizeof length + length);
  if (!mutate_json_text(target, header, random)) return false;
  header.append((8 - header.size() % 8) % 8, ' ');
  length = header.size();
  std::string whole(sizeof length, '\0');
  std::memcpy(whole.data(), &length, sizeof length);
  text = whole + header + data;
  return true;
}

}  // namespace

bool mutate(const Target& target, std::string& input, std::uint32_t seed) {
  Random random(seed);
  std::vector<std::string> parts = parts_of(input, target.parts);
  std::string& part = parts[below(random, parts.size())];
  if (!mutate_json_text(target, part, random) && !mutate_json_line(target, part, random) &&
      !mutate_header(target, part, random)) {
    if (*target.words == '\0') return false;
    mutate_text(target, part, random);
  }
  input = join_parts(parts);
  return true;
}

void mutate_bytes(std::string& input, std::uint32_t seed) {
  Random random(seed);
  for (std::size_t i = 0, changes = 1 + below(random, 4); i < changes; ++i) {
    const std::size_t at = below(random, input.size() + 1);
    switch (below(random, 4)) {
      case 0:
        input.insert(at, 1, static_cast<char>(random()));
        break;
      case 1:
        input.erase(at, 1 + below(random, 8));
        break;
      case 2:
        input.resize(at);
        break;
      default:
        if (at < input.size()) input[at] = static_cast<char>(random());
    }
  }
}

}  // namespace spd::fuzz
