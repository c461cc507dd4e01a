#include "comm/encoded_reduce.h"

#include <algorithm>

#include "comm/chunk.h"

namespace spd {

namespace {

// Values that are encoded, sent and summed together: while one such piece is on its way another is
// converted. Enough for a message to be worth its overhead.
constexpr std::size_t kPiece = 32 * 1024;
static_assert(kPiece % kWireBlock == 0);

}  // namespace

void encoded_one_shot(const Exchange& x, float* data, std::size_t count, WireFormat wire) {
  const int rank = x.transport.rank();
  const int ranks = x.transport.size();
  const std::size_t bytes = wire_bytes(wire, count);
  std::byte* slots = x.buffer.bytes(bytes * ranks);
  const auto length = [&](std::size_t at) { return std::min(kPiece, count - at); };
  const auto slot = [&](int r, std::size_t at) { return slots + bytes * r + wire_bytes(wire, at); };
  const auto start = [&](std::size_t at) {
    const std::size_t piece = wire_bytes(wire, length(at));
    for (int step = 1; step < ranks; ++step) {
      const int from = (rank + ranks - step) % ranks;
      x.transport.receive(from, slot(from, at), piece);
    }
    encode(wire, data + at, length(at), slot(rank, at));
    for (int step = 1; step < ranks; ++step) {
      x.transport.send((rank + step) % ranks, slot(rank, at), piece);
    }
  };
  const auto messages = 2 * static_cast<std::size_t>(ranks - 1);
  start(0);
  for (std::size_t at = 0; at < count; at += kPiece) {
    const bool more = at + kPiece < count;
    if (more) start(at + kPiece);
    x.wait(more ? messages : 0);
    decode(wire, slot(0, at), length(at), data + at);
    for (int r = 1; r < ranks; ++r) decode_add(wire, slot(r, at), length(at), data + at);
    round_trip(wire, data + at, length(at));
  }
}

void encoded_scatter_gather(const Exchange& x, float* data, std::size_t count, WireFormat wire) {
  const int rank = x.transport.rank();
  const int ranks = x.transport.size();
  const auto chunk = [&](int r) { return chunk_of(count, r, ranks); };
  const auto bytes_of = [&](int r) { return wire_bytes(wire, chunk(r).count); };
  const Chunk mine = chunk(rank);
  const std::size_t own_bytes = bytes_of(rank);
  // All of ours encoded, chunk after chunk, and what the others encoded of our chunk.
  std::byte* outbox = x.buffer.bytes(wire_bytes(wire, count) + own_bytes * ranks);
  std::byte* inbox = outbox + wire_bytes(wire, count);
  const auto place = [&](int r) { return outbox + wire_bytes(wire, chunk(r).begin); };
  for (int step = 1; step < ranks; ++step) {
    const int from = (rank + ranks - step) % ranks;
    x.transport.receive(from, inbox + own_bytes * from, own_bytes);
  }
  for (int step = 1; step < ranks; ++step) {
    const int to = (rank + step) % ranks;
    encode(wire, data + chunk(to).begin, chunk(to).count, place(to));
    x.transport.send(to, place(to), bytes_of(to));
  }
  float* own = data + mine.begin;
  encode(wire, own, mine.count, inbox + own_bytes * rank);
  x.wait();
  decode(wire, inbox, mine.count, own);
  for (int r = 1; r < ranks; ++r) decode_add(wire, inbox + own_bytes * r, mine.count, own);
  encode(wire, own, mine.count, place(rank));
  for (int step = 1; step < ranks; ++step) {
    const int from = (rank + ranks - step) % ranks;
    x.transport.receive(from, place(from), bytes_of(from));
  }
  for (int step = 1; step < ranks; ++step) {
    x.transport.send((rank + step) % ranks, place(rank), own_bytes);
  }
  x.wait();
  decode(wire, outbox, count, data);
}

}  // namespace spd
