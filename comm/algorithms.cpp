#include "comm/algorithms.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "comm/chunk.h"
#include "comm/encoded_reduce.h"
#include "kernels/device/error.h"
#include "kernels/device/host_memory.h"

namespace spd {

namespace {

void add(float* to, const float* from, std::size_t count) { sum_rows(to, from, count, to); }

/// to = before + to: the other order of the same sum, for NaNs of different payload.
void add_before(float* to, const float* before, std::size_t count) {
  sum_rows(before, to, count, to);
}

void one_shot(const Exchange& x, float* data, std::size_t count) {
  const int rank = x.transport.rank();
  const int ranks = x.transport.size();
  float* inbox = x.buffer.floats(count * (ranks - 1));
  const auto slot = [&](int r) { return inbox + count * (r < rank ? r : r - 1); };
  for (int step = 1; step < ranks; ++step) {
    const int from = (rank + ranks - step) % ranks;
    x.transport.receive(from, slot(from), count * sizeof(float));
  }
  for (int step = 1; step < ranks; ++step) {
    x.transport.send((rank + step) % ranks, data, count * sizeof(float));
  }
  x.wait();
  // In rank order everywhere: lower ranks are summed up first, then ours, then the higher ones.
  if (rank > 0) {
    for (int r = 1; r < rank; ++r) add(slot(0), slot(r), count);
    add_before(data, slot(0), count);
  }
  for (int r = rank + 1; r < ranks; ++r) add(data, slot(r), count);
}

void recursive_doubling(const Exchange& x, float* data, std::size_t count) {
  const int rank = x.transport.rank();
  const int ranks = x.transport.size();
  const int paired = static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks)));
  const std::size_t bytes = count * sizeof(float);
  // Ranks beyond the largest power of two hand their part to a partner and wait for the result.
  if (rank >= paired) {
    x.transport.send(rank - paired, data, bytes);
    x.wait();
    x.transport.receive(rank - paired, data, bytes);
    x.wait();
    return;
  }
  float* inbox = x.buffer.floats(count);
  const bool has_partner = rank + paired < ranks;
  if (has_partner) {
    x.transport.receive(rank + paired, inbox, bytes);
    x.wait();
    add(data, inbox, count);
  }
  for (int distance = 1; distance < paired; distance *= 2) {
    const int peer = rank ^ distance;
    x.transport.receive(peer, inbox, bytes);
    x.transport.send(peer, data, bytes);
    x.wait();
    if (peer > rank) {
      add(data, inbox, count);
    } else {
      add_before(data, inbox, count);
    }
  }
  if (has_partner) {
    x.transport.send(rank + paired, data, bytes);
    x.wait();
  }
}

void ring(const Exchange& x, float* data, std::size_t count) {
  const int rank = x.transport.rank();
  const int ranks = x.transport.size();
  const int next = (rank + 1) % ranks;
  const int previous = (rank + ranks - 1) % ranks;
  float* inbox = x.buffer.floats(count / ranks + 64);  // chunks are rounded to blocks
  const auto chunk = [&](int index) { return chunk_of(count, (index + 2 * ranks) % ranks, ranks); };
  for (int step = 1; step < ranks; ++step) {
    const Chunk out = chunk(rank - step);
    const Chunk in = chunk(rank - step - 1);
    x.transport.receive(previous, inbox, in.count * sizeof(float));
    x.transport.send(next, data + out.begin, out.count * sizeof(float));
    x.wait();
    add_before(data + in.begin, inbox, in.count);
  }
  for (int step = 0; step < ranks - 1; ++step) {
    const Chunk out = chunk(rank - step);
    const Chunk in = chunk(rank - step - 1);
    x.transport.receive(previous, data + in.begin, in.count * sizeof(float));
    x.transport.send(next, data + out.begin, out.count * sizeof(float));
    x.wait();
  }
}

}  // namespace

std::string_view name(AllReduceAlgorithm algorithm) {
  switch (algorithm) {
    case AllReduceAlgorithm::one_shot:
      return "one_shot";
    case AllReduceAlgorithm::recursive_doubling:
      return "recursive_doubling";
    case AllReduceAlgorithm::ring:
      return "ring";
    case AllReduceAlgorithm::scatter_gather:
      return "scatter_gather";
  }
  return "unknown";
}

AllReduceAlgorithm parse_all_reduce_algorithm(std::string_view text) {
  for (AllReduceAlgorithm algorithm : kAllReduceAlgorithms) {
    if (text == name(algorithm)) return algorithm;
  }
  throw Error(ErrorCode::usage, fmt::format("unknown all-reduce algorithm \"{}\"", text),
              "use one_shot, recursive_doubling, ring or scatter_gather");
}

void all_reduce(AllReduceAlgorithm algorithm, const Exchange& exchange, float* data,
                std::size_t count, WireFormat wire) {
  if (wire != WireFormat::f32) {
    // Chains of partial sums would be encoded anew at every step. Two ranks send the same either
    // way, and one_shot converts one piece while another travels.
    return algorithm == AllReduceAlgorithm::one_shot || exchange.transport.size() == 2
               ? encoded_one_shot(exchange, data, count, wire)
               : encoded_scatter_gather(exchange, data, count, wire);
  }
  switch (algorithm) {
    case AllReduceAlgorithm::one_shot:
      return one_shot(exchange, data, count);
    case AllReduceAlgorithm::recursive_doubling:
      return recursive_doubling(exchange, data, count);
    case AllReduceAlgorithm::ring:
      return ring(exchange, data, count);
    case AllReduceAlgorithm::scatter_gather:
      reduce_scatter(exchange, data, count, exchange.transport.size());
      return all_gather_chunks(exchange, data, count, exchange.transport.size());
  }
}

void reduce_scatter(const Exchange& x, float* data, std::size_t count, int owners) {
  const int rank = x.transport.rank();
  const int ranks = x.transport.size();
  const Chunk mine = rank < owners ? chunk_of(count, rank, owners) : Chunk{};
  float* own = data + mine.begin;
  float* inbox = x.buffer.floats(mine.count * (ranks - 1));
  const auto slot = [&](int r) { return inbox + mine.count * (r < rank ? r : r - 1); };
  for (int step = 1; step < ranks && rank < owners; ++step) {
    const int from = (rank + ranks - step) % ranks;
    x.transport.receive(from, slot(from), mine.count * sizeof(float));
  }
  for (int step = 1; step < ranks; ++step) {
    const int to = (rank + step) % ranks;
    if (to >= owners) continue;
    const Chunk theirs = chunk_of(count, to, owners);
    x.transport.send(to, data + theirs.begin, theirs.count * sizeof(float));
  }
  x.wait();
  if (rank >= owners) return;
  if (rank > 0) {
    for (int r = 1; r < rank; ++r) add(slot(0), slot(r), mine.count);
    add_before(own, slot(0), mine.count);
  }
  for (int r = rank + 1; r < ranks; ++r) add(own, slot(r), mine.count);
}

void all_gather_chunks(const Exchange& x, float* data, std::size_t count, int owners) {
  const int rank = x.transport.rank();
  const int ranks = x.transport.size();
  for (int step = 1; step < ranks; ++step) {
    const int from = (rank + ranks - step) % ranks;
    if (from >= owners) continue;
    const Chunk theirs = chunk_of(count, from, owners);
    x.transport.receive(from, data + theirs.begin, theirs.count * sizeof(float));
  }
  if (rank < owners) {
    const Chunk mine = chunk_of(count, rank, owners);
    for (int step = 1; step < ranks; ++step) {
      x.transport.send((rank + step) % ranks, data + mine.begin, mine.count * sizeof(float));
    }
  }
  x.wait();
}

void all_gather(const Exchange& x, const void* send, void* recv, std::size_t bytes) {
  const int rank = x.transport.rank();
  const int ranks = x.transport.size();
  const auto slot = [&](int r) { return static_cast<char*>(recv) + bytes * r; };
  for (int step = 1; step < ranks; ++step) {
    const int from = (rank + ranks - step) % ranks;
    x.transport.receive(from, slot(from), bytes);
  }
  for (int step = 1; step < ranks; ++step) x.transport.send((rank + step) % ranks, send, bytes);
  if (slot(rank) != send) std::memcpy(slot(rank), send, bytes);
  x.wait();
}

void broadcast(const Exchange& x, void* data, std::size_t bytes, int root) {
  const int ranks = x.transport.size();
  // Ranks are turned so that the root is 0; each receives from the one without its highest bit and
  // sends to those with one bit more.
  const int turned = (x.transport.rank() - root + ranks) % ranks;
  const auto real = [&](int r) { return (r + root) % ranks; };
  int distance = 1;
  if (turned > 0) {
    distance = static_cast<int>(std::bit_floor(static_cast<unsigned>(turned)));
    x.transport.receive(real(turned - distance), data, bytes);
    x.wait();
    distance *= 2;
  }
  for (; turned + distance < ranks; distance *= 2) {
    x.transport.send(real(turned + distance), data, bytes);
  }
  x.wait();
}

void barrier(const Exchange& x) {
  const int rank = x.transport.rank();
  const int ranks = x.transport.size();
  char in = 0;
  const char out = 1;
  for (int distance = 1; distance < ranks; distance *= 2) {
    x.transport.receive((rank + ranks - distance) % ranks, &in, 1);
    x.transport.send((rank + distance) % ranks, &out, 1);
    x.wait();
  }
}

}  // namespace spd
