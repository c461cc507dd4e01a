// Time of an all-reduce by size: ours against MPI_Allreduce, in turn in one run.
//   mpirun -n R comm_bench [BACKEND...]      default: all that work here
// Columns as in nccl-tests: algbw is payload over time, busbw is algbw * 2 (R - 1) / R, the share
// of the slowest link if every rank sends at once; "wrong" counts elements that are not the sum.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "comm/bench/contenders.h"
#include "comm/collective.h"
#include "comm/mpi_session.h"
#include "kernels/device/cpu_device.h"

namespace spd {
namespace {

constexpr std::size_t kSmallest = 8;
constexpr std::size_t kLargest = 4 << 20;
constexpr double kSecondsPerSize = 0.3;

double now_us() { return MPI_Wtime() * 1e6; }

struct Row {
  std::vector<double> us;
  std::size_t wrong = 0;
};

/// One all-reduce of a contender: the slowest rank's time, since that is what a model waits for.
void run_once(Communicator& comm, Stream& stream, std::vector<float>& data, Row& row) {
  const float value = static_cast<float>(comm.rank() + 1);
  std::fill(data.begin(), data.end(), value);
  MPI_Barrier(MPI_COMM_WORLD);
  const double begin = now_us();
  comm.all_reduce(data.data(), data.size(), stream, {"bench"});
  double took = now_us() - begin;
  MPI_Allreduce(MPI_IN_PLACE, &took, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  row.us.push_back(took);
  const float sum = static_cast<float>(comm.size() * (comm.size() + 1)) / 2;
  row.wrong += static_cast<std::size_t>(
      std::count_if(data.begin(), data.end(), [&](float x) { return x != sum; }));
}

std::string bytes_text(std::size_t bytes) {
  if (bytes >= 1 << 20) return fmt::format("{} MiB", bytes >> 20);
  if (bytes >= 1 << 10) return fmt::format("{} KiB", bytes >> 10);
  return fmt::format("{} B", bytes);
}

void print(std::size_t bytes, int ranks, const std::vector<Contender>& contenders,
           std::vector<Row>& rows) {
  double baseline = 0;
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    auto& us = rows[i].us;
    std::sort(us.begin(), us.end());
    const double median = us[us.size() / 2];
    if (i == 0) baseline = median;
    const double algbw = static_cast<double>(bytes) / median / 1e3;
    fmt::print("{:>8}  {:<24} {:>9.2f} {:>9.2f} {:>9.2f} {:>8.3f} {:>8.3f} {:>6.2f} {:>6}\n",
               bytes_text(bytes), contenders[i].name, us.front(), median, us[us.size() * 99 / 100],
               algbw, algbw * 2 * (ranks - 1) / ranks, median / baseline, rows[i].wrong);
  }
}

void bench(MpiSession& session, const std::vector<std::string>& names) {
  CpuDevice device;
  const auto stream = device.make_stream();
  std::vector<Contender> contenders = make_contenders(session, names);
  if (session.rank() == 0) {
    fmt::print("{} ranks on {} node(s)\n", session.size(), session.topology().nodes());
    fmt::print("{:>8}  {:<24} {:>9} {:>9} {:>9} {:>8} {:>8} {:>6} {:>6}\n", "size", "all-reduce",
               "min us", "p50 us", "p99 us", "algbw", "busbw", "x MPI", "wrong");
  }
  for (std::size_t bytes = kSmallest; bytes <= kLargest; bytes *= 2) {
    std::vector<Row> rows(contenders.size());
    std::vector<float> data(bytes / sizeof(float));
    const double end = now_us() + kSecondsPerSize * 1e6 * static_cast<double>(contenders.size());
    for (int more = 1; more;) {
      for (std::size_t i = 0; i < contenders.size(); ++i) {
        run_once(*contenders[i].comm, *stream, data, rows[i]);
      }
      more = now_us() < end && rows[0].us.size() < 2000;
      MPI_Bcast(&more, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
    if (session.rank() == 0) print(bytes, session.size(), contenders, rows);
  }
}

}  // namespace
}  // namespace spd

int main(int argc, char** argv) {
  spd::MpiSession session(&argc, &argv);
  try {
    spd::bench(session, {argv + 1, argv + argc});
    return EXIT_SUCCESS;
  } catch (const spd::CommError& error) {
    if (error.spokesman()) fmt::print(stderr, "error: {}\n", error.what());
    session.abort(error.exit_status(), error.spokesman());
  } catch (const spd::Error& error) {
    if (session.rank() == 0) fmt::print(stderr, "error: {}\n", error.what());
    session.abort(error.exit_status(), session.rank() == 0);
  }
}
