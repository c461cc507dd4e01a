// Shared memory of blocks, and what is known of each word of it.
#pragma once

#include <cstddef>

namespace cuda_emulation {

struct Operation;
struct Thread;

inline constexpr std::size_t kSharedBytes = 256 << 10;  ///< a block's, gaps included
inline constexpr std::size_t kSharedGap = 64;           ///< beyond each array: belongs to nobody

/// Memory for one block at a time.
std::size_t take_shared_slot();
void give_shared_slot(std::size_t slot);
unsigned char* shared_memory(std::size_t slot);
bool is_shared(const void* address);

/// An array begins to exist, filled with NaN: what nobody wrote shows.
void open_shared(std::size_t slot, std::size_t offset, std::size_t bytes);
void clear_shared(std::size_t slot, std::size_t used);
/// Reports what is out of bounds, read before it was written, or raced for.
void check_shared(const Thread& thread, const void* address, std::size_t bytes, bool write,
                  const void* pc);

}  // namespace cuda_emulation
