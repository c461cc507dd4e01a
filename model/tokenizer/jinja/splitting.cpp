#include "model/tokenizer/jinja/splitting.h"

#include <algorithm>

#include "kernels/device/utf8.h"
#include "model/tokenizer/jinja/characters.h"

namespace spd::jinja {
namespace {

using Parts = std::vector<std::string_view>;

/// The size of the run of white space, or of anything else, at the start or at the end.
std::size_t run(std::string_view text, bool of_space, bool at_end) {
  std::size_t size = 0;
  while (size < text.size()) {
    const std::size_t at = at_end ? code_point_before(text, text.size() - size) : size;
    const CodePoint c = code_point_at(text, at);
    if (is_space_in_python(c.value) != of_space) break;
    size += c.bytes;
  }
  return size;
}

}  // namespace

Parts split_at(Rendering& rendering, std::string_view text, std::string_view separator,
               std::int64_t most, bool backwards) {
  if (separator.empty()) fail("empty separator");
  rendering.touch(text.size());
  Parts parts;
  for (; most != 0; most -= most > 0 ? 1 : 0) {
    const std::size_t at = backwards ? text.rfind(separator) : text.find(separator);
    if (at == text.npos) break;
    rendering.step();
    const std::string_view before = text.substr(0, at);
    const std::string_view behind = text.substr(at + separator.size());
    parts.push_back(backwards ? behind : before);
    text = backwards ? before : behind;
  }
  parts.push_back(text);
  if (backwards) std::reverse(parts.begin(), parts.end());
  return parts;
}

Parts split_at_space(Rendering& rendering, std::string_view text, std::int64_t most,
                     bool backwards) {
  rendering.step(1 + text.size() / 4);
  Parts parts;
  const auto drop = [&](std::size_t size) {
    text = backwards ? text.substr(0, text.size() - size) : text.substr(size);
  };
  drop(run(text, true, backwards));
  while (!text.empty() && most != 0) {
    const std::size_t size = run(text, false, backwards);
    parts.push_back(backwards ? text.substr(text.size() - size) : text.substr(0, size));
    drop(size);
    drop(run(text, true, backwards));
    if (most > 0) --most;
  }
  // The rest keeps the white space at its far end out, as Python does.
  if (!text.empty()) parts.push_back(text);
  if (backwards) std::reverse(parts.begin(), parts.end());
  return parts;
}

Parts split_lines(Rendering& rendering, std::string_view text, bool keep_ends) {
  rendering.step(1 + text.size() / 4);
  Parts lines;
  std::size_t start = 0;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    std::size_t after = at + c.bytes;
    if (is_line_end(c.value)) {
      if (c.value == '\r' && after < text.size() && text[after] == '\n') ++after;
      lines.push_back(text.substr(start, (keep_ends ? after : at) - start));
      start = after;
    }
    at = after;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

std::string replace(Rendering& rendering, std::string_view text, std::string_view old,
                    std::string_view by, std::int64_t most) {
  rendering.touch(text.size());
  std::string result;
  std::size_t from = 0;
  if (most < 0) most = INT64_MAX;
  // Nothing is found before every character and at the end.
  std::size_t at = text.find(old);
  for (; most > 0 && at != text.npos; --most) {
    result.append(text, from, at - from).append(by);
    rendering.touch(by.size());
    rendering.check_size(result.size());
    from = at + old.size();
    if (old.empty()) {
      if (at == text.size()) break;
      at += code_point_at(text, at).bytes;
    } else {
      at = text.find(old, from);
    }
  }
  return result.append(text.substr(from));
}

std::string padded(Rendering& rendering, const Text& text, std::int64_t width,
                   std::string_view fill, bool left, bool right) {
  const auto length = static_cast<std::int64_t>(text.length);
  if (width <= length) return text.bytes;
  const auto missing = static_cast<std::uint64_t>(width - length);
  if (missing > rendering.most_output()) rendering.check_size(missing);
  rendering.check_size(missing * fill.size());
  std::uint64_t before = left ? missing : 0;
  // Where both sides are filled, the odd one goes to the left of a text of even width.
  if (left && right) before = missing / 2 + (missing & static_cast<std::uint64_t>(width) & 1);
  std::string result;
  for (std::uint64_t at = 0; at < before; ++at) result += fill;
  result += text.bytes;
  for (std::uint64_t at = before; at < missing; ++at) result += fill;
  return result;
}

}  // namespace spd::jinja
