#include "tests/comm/collective_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>
#include <stdexcept>

#include "comm/chunk.h"
#include "tests/comm/payload.h"

namespace spd {

namespace {

constexpr CallSite kSite{"check", 1};

void require(bool ok, const Communicator& comm, const std::string& what) {
  if (!ok) {
    throw std::runtime_error(
        fmt::format("{} rank {}/{}: {}", comm.backend(), comm.rank(), comm.size(), what));
  }
}

void check_same_everywhere(Communicator& comm, Communicator& control, Stream& stream,
                           const std::vector<float>& data, const std::string& what) {
  const std::uint64_t mine = fingerprint(data.data(), data.size() * sizeof(float));
  std::vector<std::uint64_t> all(comm.size());
  control.all_gather(&mine, all.data(), sizeof mine, stream, kSite);
  require(std::all_of(all.begin(), all.end(), [&](auto other) { return other == mine; }), comm,
          what + " differs between ranks");
}

void check_sum(Communicator& comm, Stream& stream, const std::vector<int>& payload_ranks,
               std::uint64_t round, std::size_t count, std::vector<float>& data) {
  constexpr std::size_t kBefore = 5;
  const std::vector<float> mine = payload(payload_ranks[comm.rank()], round, count);
  std::vector<float> guarded(count + kBefore + 1, 7.0f);
  std::copy(mine.begin(), mine.end(), guarded.begin() + kBefore);
  comm.all_reduce(guarded.data() + kBefore, count, stream, kSite);
  require(guarded[kBefore - 1] == 7.0f && guarded.back() == 7.0f, comm, "wrote out of bounds");
  data.assign(guarded.begin() + kBefore, guarded.end() - 1);
  const auto wrong = first_wrong(data.data(), expected_sum(payload_ranks, round, count));
  require(
      wrong < 0, comm,
      fmt::format("all-reduce of {} elements, round {}: element {} is wrong", count, round, wrong));
}

/// An all-reduce in two halves, for all numbers of owners.
void check_halves(Communicator& comm, Stream& stream, const std::vector<int>& payload_ranks,
                  std::size_t largest) {
  for (int owners = 1; owners <= comm.size(); ++owners) {
    for (std::size_t count = 1; count <= largest; count = count * 4 + 5) {
      std::vector<float> data = payload(payload_ranks[comm.rank()], count, count);
      data.insert(data.begin(), 7.0f);
      data.push_back(7.0f);
      const ExpectedSum expected = expected_sum(payload_ranks, count, count);
      comm.reduce_scatter(data.data() + 1, count, owners, stream, kSite);
      if (comm.rank() < owners) {
        const Chunk mine = chunk_of(count, comm.rank(), owners);
        std::vector<float> rest(count);
        for (std::size_t i = 0; i < count; ++i) {
          const bool own = i >= mine.begin && i < mine.end();
          rest[i] = own ? data[i + 1] : static_cast<float>(expected.sum[i]);
        }
        require(first_wrong(rest.data(), expected) < 0, comm,
                fmt::format("sum of chunk of {} elements, {} owners", count, owners));
      }
      comm.all_gather_chunks(data.data() + 1, count, owners, stream, kSite);
      require(first_wrong(data.data() + 1, expected) < 0, comm,
              fmt::format("copy of chunks of {} elements, {} owners", count, owners));
      require(data.front() == 7.0f && data.back() == 7.0f, comm, "wrote out of bounds");
    }
  }
}

void check_wire_formats(Communicator& comm, Stream& stream, const std::vector<int>& payload_ranks,
                        std::size_t largest, const std::vector<std::vector<int>>& contributions) {
  if (comm.size() == 1) return;  // nothing travels
  for (WireFormat wire : {WireFormat::bf16, WireFormat::int8}) {
    for (std::size_t count = 1; count <= largest; count = count * 5 + 2) {
      std::vector<float> data = payload(payload_ranks[comm.rank()], count, count);
      data.insert(data.begin(), 7.0f);
      data.push_back(7.0f);
      comm.all_reduce(data.data() + 1, count, stream, kSite, wire);
      require(data.front() == 7.0f && data.back() == 7.0f, comm, "wrote out of bounds");
      const std::vector<float> expected = encoded_sum(contributions, count, count, wire);
      require(std::equal(expected.begin(), expected.end(), data.begin() + 1), comm,
              fmt::format("all-reduce of {} elements as {}", count, name(wire)));
    }
  }
}

}  // namespace

void check_collectives(Communicator& comm, Communicator& control, Stream& stream,
                       const std::vector<int>& payload_ranks, std::size_t largest, int rounds,
                       std::vector<std::vector<int>> contributions) {
  if (contributions.empty()) {
    for (int rank : payload_ranks) contributions.push_back({rank});
  }
  const int ranks = comm.size();
  std::vector<float> data;
  for (std::size_t count = 1; count <= largest; count = count * 3 + 1) {
    for (std::size_t more : {0, 1, 2}) {
      if (count + more > largest) continue;
      check_sum(comm, stream, payload_ranks, count, count + more, data);
      check_same_everywhere(comm, control, stream, data, fmt::format("{} elements", count + more));
    }
  }
  check_sum(comm, stream, payload_ranks, 1, largest, data);
  check_same_everywhere(comm, control, stream, data, fmt::format("{} elements", largest));

  check_wire_formats(comm, stream, payload_ranks, largest, contributions);
  check_halves(comm, stream, payload_ranks, largest);

  std::mt19937 same(7);  // the same draws on every rank
  for (int round = 0; round < rounds; ++round) {
    const std::size_t count = round % 40 == 0 ? 15'000 + same() % 9000 : 1 + same() % 3000;
    const int kind = static_cast<int>(same() % 8);
    const int root = static_cast<int>(same() % static_cast<unsigned>(ranks));
    const std::vector<float> mine = payload(payload_ranks[comm.rank()], round, count);
    if (kind == 0) {
      std::vector<float> all(count * ranks);
      comm.all_gather(mine.data(), all.data(), count * sizeof(float), stream, kSite);
      for (int r = 0; r < ranks; ++r) {
        const std::vector<float> theirs = payload(payload_ranks[r], round, count);
        require(std::equal(theirs.begin(), theirs.end(), all.begin() + count * r), comm,
                fmt::format("all-gather of {} elements, round {}", count, round));
      }
    } else if (kind == 1) {
      data = mine;
      comm.broadcast(data.data(), count * sizeof(float), root, stream, kSite);
      require(data == payload(payload_ranks[root], round, count), comm,
              fmt::format("broadcast of {} elements, round {}", count, round));
    } else if (kind == 2) {
      comm.barrier(kSite);
    } else {
      check_sum(comm, stream, payload_ranks, round, count, data);
      if (round % 16 == 0) check_same_everywhere(comm, control, stream, data, "random round");
    }
  }
}

}  // namespace spd
