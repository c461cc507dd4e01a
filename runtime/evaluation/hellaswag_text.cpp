#include "runtime/evaluation/hellaswag_text.h"

#include <algorithm>
#include <string_view>

#include "model/tokenizer/python_text.h"

namespace spd {
namespace {

// `text` with `to` for every `from`, from the left and without overlap.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; true;) {
    const std::size_t found = text.find(from, at);
    result += text.substr(at, found - at);
    if (found == std::string_view::npos) return result;
    result += to;
    at = found + from.size();
  }
}

// Without every shortest "[...]" that does not go over a line's end: re.sub(r"\[.*?\]", "", text).
std::string remove_brackets(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = std::min(text.find('[', at), text.size());
    result += text.substr(at, open - at);
    const std::size_t end = std::min(text.find_first_of("]\n", open), text.size());
    const bool closed = end < text.size() && text[end] == ']';
    // Where the line ends first, none of its further brackets is closed either.
    if (!closed) result += text.substr(open, end - open);
    at = closed ? end + 1 : end;
    if (!closed && end < text.size()) {
      result += '\n';
      ++at;
    }
  }
  return result;
}

}  // namespace

std::string clean_hellaswag(const std::string& text) {
  const std::string titled = replace_all(python_strip(text), " [title]", ". ");
  return replace_all(remove_brackets(titled), "  ", " ");
}

std::string clean_compact_hellaswag(const std::string& text) {
  return remove_brackets(text) == text ? text : clean_hellaswag(text);
}

std::string capitalize_fragment(const std::string& query) {
  std::size_t begin = query.find_last_of(".!?");
  if (begin == std::string::npos || begin + 1 == query.size()) return query;
  begin = query.find_first_not_of("\"')", begin + 1);
  if (begin == std::string::npos || query[begin] != ' ' || begin + 1 == query.size()) return query;
  return query.substr(0, begin + 1) + python_capitalize(std::string_view(query).substr(begin + 1));
}

}  // namespace spd
