#include <fmt/format.h>

#include "tests/cuda_emulation/control.h"
#include "tests/cuda_emulation/order.h"
#include "tests/cuda_emulation/streams.h"

namespace cuda_emulation {

namespace {

std::vector<std::unique_ptr<Block>>& unused_blocks() {
  static auto* const blocks = new std::vector<std::unique_ptr<Block>>;
  return *blocks;
}

std::unique_ptr<Block> take_block() {
  if (unused_blocks().empty()) return std::make_unique<Block>();
  auto block = std::move(unused_blocks().back());
  unused_blocks().pop_back();
  return block;
}

}  // namespace

Grid::~Grid() {
  for (auto& block : resident_) unused_blocks().push_back(std::move(block));
}

void Grid::start_block() {
  resident_.push_back(take_block());
  resident_.back()->begin(operation_, pick_block(started_, total()));
  ++started_;
}

bool Grid::run(std::string& stuck) {
  // Blocks that wait for flags stay; others start beside them as long as the device has room.
  const bool room = static_cast<int>(resident_.size()) < options().resident_blocks;
  if (room && started_ < total()) start_block();
  bool happened = false;
  for (std::size_t i = 0; i < resident_.size();) {
    Block& block = *resident_[i];
    const std::uint64_t before = block.progress();
    block.run();
    happened = happened || block.progress() != before;
    if (block.ended()) {
      unused_blocks().push_back(std::move(resident_[i]));
      resident_.erase(resident_.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    if (!block.spins()) {
      stuck = fmt::format("{}: block {} cannot go on{}", operation_.name, block.number(),
                          block.describe_waits());
      return false;
    }
    ++i;
  }
  return happened;
}

std::string Grid::describe_waits() const {
  std::string text = operation_.name;
  for (const auto& block : resident_) text += block->describe_waits();
  return text;
}

}  // namespace cuda_emulation
