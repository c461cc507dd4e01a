#include "runtime/repair/gather.h"

#include <cstring>

namespace spd {
namespace {

constexpr CallSite kSite{"gathering repairs"};

// Matrices one after another, each behind its shape.
class Packer {
 public:
  void put(std::int64_t value) { put(&value, sizeof(value)); }
  void put(const HostMatrix& matrix) {
    put(matrix.rows);
    put(matrix.cols);
    put(matrix.values.data(), matrix.values.size() * sizeof(float));
  }
  void put(const std::string& text) {
    put(static_cast<std::int64_t>(text.size()));
    put(text.data(), text.size());
  }
  void put(const std::optional<Prediction>& prediction) {
    put(static_cast<std::int64_t>(prediction.has_value()));
    if (!prediction) return;
    put(static_cast<std::int64_t>(prediction->level));
    for (const HostMatrix* matrix : {&prediction->from_input, &prediction->from_inner,
                                     &prediction->to_hidden, &prediction->mean}) {
      put(*matrix);
    }
  }
  std::vector<std::byte> bytes;

 private:
  void put(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::byte*>(data);
    bytes.insert(bytes.end(), from, from + size);
  }
};

class Unpacker {
 public:
  explicit Unpacker(const std::vector<std::byte>& bytes) : next_(bytes.data()) {}
  std::int64_t number() {
    std::int64_t value = 0;
    take(&value, sizeof(value));
    return value;
  }
  HostMatrix matrix() {
    const std::int64_t rows = number(), cols = number();
    HostMatrix matrix(rows, cols);
    take(matrix.values.data(), matrix.values.size() * sizeof(float));
    return matrix;
  }
  std::string text() {
    std::string text(number(), '\0');
    take(text.data(), text.size());
    return text;
  }
  std::optional<Prediction> prediction() {
    if (number() == 0) return std::nullopt;
    Prediction prediction;
    prediction.level = static_cast<SyncLevel>(number());
    for (HostMatrix* part : {&prediction.from_input, &prediction.from_inner, &prediction.to_hidden,
                             &prediction.mean}) {
      *part = matrix();
    }
    return prediction;
  }

 private:
  void take(void* to, std::size_t size) {
    if (size > 0) std::memcpy(to, next_, size);
    next_ += size;
  }
  const std::byte* next_;
};

std::vector<std::byte> pack(const BlockRepair& repair) {
  Packer packer;
  packer.put(repair.prediction.attn);
  packer.put(repair.prediction.mlp);
  packer.put(static_cast<std::int64_t>(repair.weights.size()));
  for (const auto& [name, matrix] : repair.weights) {
    packer.put(name);
    packer.put(matrix);
  }
  return packer.bytes;
}

BlockRepair unpack(const std::vector<std::byte>& bytes) {
  Unpacker unpacker(bytes);
  BlockRepair repair;
  repair.prediction.attn = unpacker.prediction();
  repair.prediction.mlp = unpacker.prediction();
  for (std::int64_t left = unpacker.number(); left > 0; --left) {
    const std::string name = unpacker.text();
    repair.weights[name] = unpacker.matrix();
  }
  return repair;
}

}  // namespace

std::vector<BlockRepair> gather_block_repairs(const BlockRepair& mine, const RankComms& comms,
                                              Stream& stream) {
  std::vector<BlockRepair> all;
  for (int rank = 0; rank < comms.ranks(); ++rank) {
    std::vector<std::byte> bytes;
    if (rank == comms.rank) bytes = pack(mine);
    std::uint64_t size = bytes.size();
    comms.world->broadcast(&size, sizeof(size), rank, stream, kSite);
    bytes.resize(size);
    comms.world->broadcast(bytes.data(), bytes.size(), rank, stream, kSite);
    all.push_back(unpack(bytes));
  }
  return all;
}

std::vector<RankRepair> gather_repairs(const RankRepair& mine, const RankComms& comms,
                                       Stream& stream) {
  std::vector<RankRepair> all(comms.ranks(), RankRepair(mine.size()));
  for (std::size_t block = 0; block < mine.size(); ++block) {
    auto ranks = gather_block_repairs(mine[block], comms, stream);
    if (comms.rank != 0) continue;
    for (int rank = 0; rank < comms.ranks(); ++rank) all[rank][block] = std::move(ranks[rank]);
  }
  return all;
}

}  // namespace spd
