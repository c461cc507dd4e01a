// Lists on the command line: "a,b,c".
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

namespace spd {

/// The items of a list, one empty item for an empty text; they refer to `text`.
inline std::vector<std::string_view> split_commas(std::string_view text) {
  std::vector<std::string_view> items;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    items.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return items;
}

}  // namespace spd
