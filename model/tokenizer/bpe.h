// Byte-pair encoding of one word.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "model/tokenizer/merge_table.h"
#include "model/tokenizer/vocabulary.h"

namespace spd {

struct BpeOptions {
  std::optional<std::string> unk_token;  ///< for characters that are no token; none: left out
  bool fuse_unk = false;                 ///< neighbouring unknown characters give one token
  bool byte_fallback = false;            ///< unknown characters become <0xHH> tokens where there
  bool ignore_merges = false;            ///< a word that is a token is that token
};

class Bpe {
 public:
  using Merges = std::vector<std::pair<std::string, std::string>>;

  /// Throws input Error for a merge of, or an unknown token, that is not in the vocabulary.
  Bpe(Vocabulary vocabulary, const Merges& merges, BpeOptions options);

  const Vocabulary& vocabulary() const { return vocabulary_; }

  /// What one thread keeps between words: words seen, and room to work in.
  class Workspace {
   public:
    Workspace() = default;

   private:
    friend class Bpe;
    struct Symbol {
      TokenId id;
      std::int32_t previous, next;  // -1: none; a symbol merged into its left one has id -1
    };
    struct Candidate {
      std::uint32_t rank;
      std::int32_t left;
      TokenId merged;
    };
    struct Hash : std::hash<std::string_view> {
      using is_transparent = void;
    };
    struct Span {
      std::size_t begin, end;
    };
    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
    std::unordered_map<std::string, Span, Hash, std::equal_to<>> seen_;
    std::vector<TokenId> seen_ids_;
  };

  /// Appends the ids of `word` (valid UTF-8). O(n log n).
  void encode(std::string_view word, Workspace& workspace, std::vector<TokenId>& ids) const;

 private:
  void encode_part(std::string_view part, Workspace& workspace, std::vector<TokenId>& ids) const;
  void add_symbols(std::string_view part, Workspace& workspace) const;
  void push_candidate(Workspace& workspace, std::int32_t left) const;
  void merge_symbols(Workspace& workspace) const;
  std::size_t cut_after(std::string_view word, std::size_t begin) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  BpeOptions options_;
  std::optional<TokenId> unk_;
  bool has_mark_;                      // whether U+2581 is a token
  std::array<TokenId, 256> byte_ids_;  // <0xHH>, -1 where there is none
  // Characters that come before the mark U+2581 inside some merged token.
  std::unordered_set<std::string> before_mark_;
};

}  // namespace spd
