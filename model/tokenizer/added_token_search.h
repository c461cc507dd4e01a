// The search for many fixed strings in a text at once.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spd {

/// An Aho-Corasick automaton for matches that are leftmost, and of those the longest. A search
/// takes time linear in the text whatever the needles are.
class AddedTokenSearch {
 public:
  AddedTokenSearch() = default;
  /// Empty needles never match; of equal ones the first does. Throws input Error for more than
  /// kMostBytes of them.
  explicit AddedTokenSearch(const std::vector<std::string>& needles);

  static constexpr std::size_t kMostBytes = std::size_t{1} << 25;

  struct Match {
    std::size_t begin = 0, end = 0;
    std::size_t needle = 0;  ///< index in the list of needles
  };
  /// The first match that begins at `from` or later; false where there is none.
  bool find(std::string_view text, std::size_t from, Match& match) const;

 private:
  static constexpr std::int32_t kRoot = 0, kDead = -1, kNone = -1;
  struct Node {
    std::uint32_t first_edge = 0;  // of its edges, which lie together, in order of their bytes
    std::uint32_t edges = 0;
    std::int32_t depth = 0;
    std::int32_t fail = kRoot;    // the node of the longest suffix; kDead: none can be leftmost
    std::int32_t match = kNone;   // the node whose needle ends here: itself, or a suffix
    std::int32_t needle = kNone;  // the needle that ends in this very node
  };
  void build(const std::vector<std::string>& needles, const std::vector<std::uint32_t>& order);
  void link();
  std::int32_t child(std::int32_t node, unsigned char byte) const;
  std::int32_t step(std::int32_t node, unsigned char byte) const;

  std::vector<Node> nodes_;
  std::vector<unsigned char> edge_bytes_;   // [edge]; an edge leads to node edge + 1
  std::array<std::int32_t, 256> begins_{};  // the root's children by byte, kRoot: none
};

}  // namespace spd
