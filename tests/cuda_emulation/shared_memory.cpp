#include "tests/cuda_emulation/shared_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/cuda_emulation/access.h"
#include "tests/cuda_emulation/block.h"
#include "tests/cuda_emulation/reserve.h"

namespace cuda_emulation {

namespace {

constexpr std::size_t kSlots = 4096;

/// Of one word. Epochs count barriers, syncs the warp's __syncwarp.
struct Cell {
  std::uint32_t write_epoch, read_epoch, write_sync, read_sync;
  std::uint16_t writer, reader;
  std::uint8_t valid;                  ///< bytes that belong to an array
  std::uint8_t written;                ///< bits of bytes that somebody has written
  std::uint8_t last_write, last_read;  ///< bits of bytes of the last access; 0: none
  bool other_lanes, other_warps;       ///< have read beside the last reader
};

unsigned char* arena() {
  static auto* const memory = reserve<unsigned char>(kSlots * kSharedBytes);
  return memory;
}

Cell* cells() {
  static auto* const all = reserve<Cell>(kSlots * kSharedBytes / 4);
  return all;
}

Cell* cells_of(std::size_t slot) { return cells() + slot * kSharedBytes / 4; }

std::vector<std::size_t>& free_slots() {
  static std::vector<std::size_t> slots;
  return slots;
}

/// Two accesses of a block without a barrier between, nor a __syncwarp within the warp.
struct Meantime {
  const Thread& thread;
  std::uint32_t epoch, sync;
  bool with(std::uint16_t who, std::uint32_t their_epoch, std::uint32_t their_sync) const {
    if (their_epoch != epoch || who == thread.number) return false;
    return who / kWarpLanes != thread.warp || their_sync == sync;
  }
};

void note_write(Cell& cell, const Meantime& now_at, std::uint8_t bits) {
  cell.writer = now_at.thread.number;
  cell.write_epoch = now_at.epoch;
  cell.write_sync = now_at.sync;
  cell.last_write = bits;
  cell.written |= bits;
}

void note_read(Cell& cell, const Meantime& now_at, std::uint8_t bits) {
  const bool same_epoch = cell.last_read != 0 && cell.read_epoch == now_at.epoch;
  const bool same_warp = cell.reader / kWarpLanes == now_at.thread.warp;
  const bool same_sync = same_epoch && same_warp && cell.read_sync == now_at.sync;
  if (!same_epoch) cell.other_warps = false;
  if (same_epoch && !same_warp) cell.other_warps = true;
  if (!same_sync) cell.other_lanes = false;
  if (same_sync && cell.reader != now_at.thread.number) cell.other_lanes = true;
  cell.reader = now_at.thread.number;
  cell.read_epoch = now_at.epoch;
  cell.read_sync = now_at.sync;
  cell.last_read = bits;
}

bool read_meanwhile(const Cell& cell, const Meantime& now_at, std::uint8_t bits) {
  if ((cell.last_read & bits) == 0 || cell.read_epoch != now_at.epoch) return false;
  if (cell.other_warps) return true;
  if (now_at.with(cell.reader, cell.read_epoch, cell.read_sync)) return true;
  return cell.other_lanes && cell.read_sync == now_at.sync;
}

const char* what_is_wrong(const Cell& cell, const Meantime& now_at, std::uint8_t bits, bool write) {
  const bool written =
      (cell.last_write & bits) != 0 && now_at.with(cell.writer, cell.write_epoch, cell.write_sync);
  if (written) {
    return write ? "race in shared memory (write after write)"
                 : "race in shared memory (read after write)";
  }
  if (write) {
    return read_meanwhile(cell, now_at, bits) ? "race in shared memory (write after read)"
                                              : nullptr;
  }
  return (bits & ~cell.written) != 0 ? "shared memory read that nobody wrote" : nullptr;
}

}  // namespace

std::size_t take_shared_slot() {
  static std::size_t next = 0;
  if (free_slots().empty()) return next++ % kSlots;
  const std::size_t slot = free_slots().back();
  free_slots().pop_back();
  return slot;
}

void give_shared_slot(std::size_t slot) { free_slots().push_back(slot); }

unsigned char* shared_memory(std::size_t slot) { return arena() + slot * kSharedBytes; }

bool is_shared(const void* address) {
  return static_cast<std::size_t>(static_cast<const unsigned char*>(address) - arena()) <
         kSlots * kSharedBytes;
}

void open_shared(std::size_t slot, std::size_t offset, std::size_t bytes) {
  std::memset(shared_memory(slot) + offset, 0xff, bytes);
  if (!accesses_checked()) return;
  Cell* const cell = cells_of(slot) + offset / 4;
  for (std::size_t i = 0; i < bytes; i += 4) {
    cell[i / 4] = {};
    cell[i / 4].valid = static_cast<std::uint8_t>(std::min<std::size_t>(4, bytes - i));
  }
}

void clear_shared(std::size_t slot, std::size_t used) {
  if (accesses_checked()) std::memset(cells_of(slot), 0, (used + 3) / 4 * sizeof(Cell));
}

void check_shared(const Thread& thread, const void* address, std::size_t bytes, bool write,
                  const void* pc) {
  const std::size_t begin = static_cast<const unsigned char*>(address) - arena();
  const Meantime now_at{thread, thread.block->epoch(), thread.block->warp(thread.warp).syncs};
  if (begin / kSharedBytes != thread.block->shared_slot()) {
    report_access("shared memory of another block", bytes, write, pc);
    return;
  }
  for (std::size_t o = begin; o < begin + bytes; o = (o / 4 + 1) * 4) {
    const std::size_t end = std::min(begin + bytes, (o / 4 + 1) * 4);
    Cell& cell = cells()[o / 4];
    const std::uint8_t bits = byte_bits(o % 4, end - o);
    const char* wrong = end - o / 4 * 4 > cell.valid ? "shared memory out of bounds"
                                                     : what_is_wrong(cell, now_at, bits, write);
    if (wrong) report_access(wrong, bytes, write, pc);
    write ? note_write(cell, now_at, bits) : note_read(cell, now_at, bits);
  }
}

}  // namespace cuda_emulation
