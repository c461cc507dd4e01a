#include "model/tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/device/error.h"
#include "kernels/device/utf8.h"
#include "model/tokenizer/file_kind.h"

namespace spd {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581, SentencePiece's space
constexpr std::size_t kMaxSeenWords = 1 << 15;
constexpr std::size_t kMaxSeenWordBytes = 128;

TokenId id_of_merge_part(const Vocabulary& vocabulary, const std::string& token, std::size_t rank) {
  const std::optional<TokenId> id = vocabulary.find(token);
  if (!id) {
    throw Error(ErrorCode::input,
                fmt::format("merge {} needs the token {}, which is not in the vocabulary", rank,
                            quoted_text(token)));
  }
  return *id;
}

}  // namespace

Bpe::Bpe(Vocabulary vocabulary, const Merges& merges, BpeOptions options)
    : vocabulary_(std::move(vocabulary)), merges_(merges.size()), options_(std::move(options)) {
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const std::string merged = left + right;
    // In order, so that of several that are missing every compiler names the first.
    const TokenId left_id = id_of_merge_part(vocabulary_, left, rank);
    const TokenId right_id = id_of_merge_part(vocabulary_, right, rank);
    const TokenId merged_id = id_of_merge_part(vocabulary_, merged, rank);
    merges_.set(left_id, right_id, {static_cast<std::uint32_t>(rank), merged_id});
    for (std::size_t at = merged.find(kMark, 1); at != std::string::npos;
         at = merged.find(kMark, at + 1)) {
      const std::size_t before = code_point_before(merged, at);
      before_mark_.insert(merged.substr(before, at - before));
    }
  }
  if (options_.unk_token) {
    unk_ = vocabulary_.find(*options_.unk_token);
    if (!unk_) {
      throw Error(ErrorCode::input, fmt::format("unk_token {} is not in the vocabulary",
                                                quoted_text(*options_.unk_token)));
    }
  }
  has_mark_ = vocabulary_.find(kMark).has_value();
  for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    byte_ids_[byte] = vocabulary_.find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
}

// Where the first part of word[begin..] ends, such that no merge can cross the end. Tokenizers
// without pre-tokenizer pass whole texts as one word; cut at their spaces, they profit from words
// seen before.
std::size_t Bpe::cut_after(std::string_view word, std::size_t begin) const {
  for (std::size_t at = word.find(kMark, begin + 1); at != std::string_view::npos;
       at = word.find(kMark, at + 1)) {
    const std::size_t before = code_point_before(word, at);
    const std::string character(word.substr(before, at - before));
    // Unknown characters may fuse or fall back to bytes: leave their neighbourhood whole.
    if (vocabulary_.find(character) && !before_mark_.contains(character)) return at;
  }
  return word.size();
}

void Bpe::encode(std::string_view word, Workspace& workspace, std::vector<TokenId>& ids) const {
  if (options_.ignore_merges) {
    if (const std::optional<TokenId> id = vocabulary_.find(word)) {
      ids.push_back(*id);
      return;
    }
  }
  for (std::size_t begin = 0; begin < word.size();) {
    const std::size_t end = has_mark_ ? cut_after(word, begin) : word.size();
    encode_part(word.substr(begin, end - begin), workspace, ids);
    begin = end;
  }
}

void Bpe::encode_part(std::string_view part, Workspace& workspace,
                      std::vector<TokenId>& ids) const {
  const auto seen = workspace.seen_.find(part);
  if (seen != workspace.seen_.end()) {
    const auto first = workspace.seen_ids_.begin();
    ids.insert(ids.end(), first + static_cast<std::ptrdiff_t>(seen->second.begin),
               first + static_cast<std::ptrdiff_t>(seen->second.end));
    return;
  }
  add_symbols(part, workspace);
  merge_symbols(workspace);
  const std::size_t begin = ids.size();
  for (const Workspace::Symbol& symbol : workspace.symbols_) {
    if (symbol.id >= 0) ids.push_back(symbol.id);
  }
  if (part.size() > kMaxSeenWordBytes || workspace.seen_.size() >= kMaxSeenWords) return;
  std::vector<TokenId>& seen_ids = workspace.seen_ids_;
  const std::size_t seen_begin = seen_ids.size();
  seen_ids.insert(seen_ids.end(), ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.end());
  workspace.seen_.emplace(part, Workspace::Span{seen_begin, seen_ids.size()});
}

void Bpe::add_symbols(std::string_view part, Workspace& workspace) const {
  std::vector<Workspace::Symbol>& symbols = workspace.symbols_;
  symbols.clear();
  const auto add = [&](TokenId id) {
    const auto index = static_cast<std::int32_t>(symbols.size());
    symbols.push_back({id, index - 1, index + 1});
  };
  // An unknown token is held back until it is known what follows, and bytes do not count as
  // following: the order that the reference implementation gives.
  bool pending_unk = false;
  for (std::size_t at = 0; at < part.size();) {
    const std::string_view character = part.substr(at, code_point_at(part, at).bytes);
    at += character.size();
    if (const std::optional<TokenId> id = vocabulary_.find(character)) {
      if (std::exchange(pending_unk, false)) add(*unk_);
      add(*id);
      continue;
    }
    const auto byte_id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
    if (options_.byte_fallback &&
        std::all_of(character.begin(), character.end(), [&](char c) { return byte_id(c) >= 0; })) {
      for (const char c : character) add(byte_id(c));
      continue;
    }
    if (!unk_) continue;
    if (pending_unk && !options_.fuse_unk) add(*unk_);
    pending_unk = true;
  }
  if (pending_unk) add(*unk_);
  if (!symbols.empty()) symbols.back().next = -1;
}

void Bpe::push_candidate(Workspace& workspace, std::int32_t left) const {
  if (left < 0) return;
  const Workspace::Symbol& symbol = workspace.symbols_[static_cast<std::size_t>(left)];
  if (symbol.next < 0) return;
  const TokenId right = workspace.symbols_[static_cast<std::size_t>(symbol.next)].id;
  const Merge* merge = merges_.find(symbol.id, right);
  if (merge == nullptr) return;
  workspace.heap_.push_back({merge->rank, left, merge->merged});
}

// Earliest rank first, leftmost first among equals.
void Bpe::merge_symbols(Workspace& workspace) const {
  const auto later = [](const Workspace::Candidate& a, const Workspace::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  };
  std::vector<Workspace::Symbol>& symbols = workspace.symbols_;
  std::vector<Workspace::Candidate>& heap = workspace.heap_;
  heap.clear();
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
    push_candidate(workspace, static_cast<std::int32_t>(i));
  }
  std::make_heap(heap.begin(), heap.end(), later);
  const auto push = [&](std::int32_t left) {
    const std::size_t before = heap.size();
    push_candidate(workspace, left);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    const Workspace::Candidate top = heap.front();
    std::pop_heap(heap.begin(), heap.end(), later);
    heap.pop_back();
    Workspace::Symbol& left = symbols[static_cast<std::size_t>(top.left)];
    if (left.id < 0 || left.next < 0) continue;
    Workspace::Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    // The neighbours may have changed since; what counts is that they still merge into this.
    const Merge* merge = merges_.find(left.id, right.id);
    if (merge == nullptr || merge->merged != top.merged) continue;
    left.id = top.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = top.left;
    push(left.previous);
    push(top.left);
  }
}

}  // namespace spd
