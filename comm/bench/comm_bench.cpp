// Time of an all-reduce by size: ours against MPI_Allreduce, in turn in one run.
//   mpirun -n R comm_bench [--min BYTES] [--max BYTES] [--seconds S] [--pause US] [--json FILE]
//                          [CONTENDER...]
// A contender is BACKEND[:ALGORITHM][@WIRE]: see contenders.h; default: what suits the nodes.
// Columns as in nccl-tests: algbw is payload over time, busbw is algbw * 2 (R - 1) / R, the share
// of the slowest link if every rank sends at once; "wrong" counts elements that are not the sum.
// A time is the slowest rank's; --pause rests before each, for links that let a burst through and
// then slow down: without it, who is timed pays for the burst of who was timed before; small
// payloads are timed several in a row, and the mean taken.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "comm/bench/contenders.h"
#include "comm/failure/collective.h"
#include "comm/mpi_session.h"
#include "kernels/device/cpu_device.h"

namespace spd {
namespace {

struct Options {
  std::size_t smallest = 8;
  std::size_t largest = 4 << 20;
  double seconds = 0.2;  // a size and contender
  double pause_us = 0.0;
  std::string json;
  std::vector<std::string> contenders;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (!argument.starts_with("--")) {
      options.contenders.push_back(argument);
      continue;
    }
    if (i + 1 == argc) throw Error(ErrorCode::usage, argument + " needs a value");
    const std::string value = argv[++i];
    if (argument == "--min") {
      options.smallest = std::max(4ul, std::strtoul(value.c_str(), nullptr, 10));
    } else if (argument == "--max") {
      options.largest = std::strtoul(value.c_str(), nullptr, 10);
    } else if (argument == "--seconds") {
      options.seconds = std::atof(value.c_str());
    } else if (argument == "--pause") {
      options.pause_us = std::atof(value.c_str());
    } else if (argument == "--json") {
      options.json = value;
    } else {
      throw Error(ErrorCode::usage, "unknown option " + argument,
                  "use --min, --max, --seconds, --pause or --json");
    }
  }
  return options;
}

double now_us() { return MPI_Wtime() * 1e6; }

struct Row {
  std::vector<double> us;
  std::size_t wrong = 0;

  double percentile(double share) const {
    return us[std::min(us.size() - 1, static_cast<std::size_t>(share * us.size()))];
  }
};

constexpr CallSite kSite{"bench"};
// Sums grow by the number of ranks each time: so many in a row stay far from overflow.
constexpr int kMostInARow = 16;
constexpr double kShortUs = 200.0;

class Bench {
 public:
  Bench(MpiSession& session, const Options& options)
      : session_(session),
        options_(options),
        stream_(device_.make_stream()),
        contenders_(make_contenders(session, options.contenders)) {}

  void run() {
    if (session_.rank() == 0) {
      fmt::print("{} ranks on {} node(s)\n", session_.size(), session_.topology().nodes());
      fmt::print("{:>8}  {:<24} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>6} {:>6}\n", "size",
                 "all-reduce", "min us", "p50 us", "p99 us", "max us", "algbw", "busbw", "x MPI",
                 "wrong");
    }
    for (std::size_t bytes = options_.smallest; bytes <= options_.largest; bytes *= 2) size(bytes);
    if (session_.rank() == 0 && !options_.json.empty()) write();
  }

 private:
  void size(std::size_t bytes) {
    data_.resize(bytes / sizeof(float));
    std::vector<Row> rows(contenders_.size());
    std::vector<int> in_a_row(contenders_.size(), 1);
    for (std::size_t i = 0; i < contenders_.size(); ++i) {
      rows[i].wrong = wrong(contenders_[i]);
      sample(contenders_[i], 2);  // warm
      const double us = sample(contenders_[i], 1);
      in_a_row[i] = std::clamp(static_cast<int>(kShortUs / us), 1, kMostInARow);
    }
    MPI_Bcast(in_a_row.data(), static_cast<int>(in_a_row.size()), MPI_INT, 0, MPI_COMM_WORLD);
    const double end = now_us() + options_.seconds * 1e6 * static_cast<double>(contenders_.size());
    for (int more = 1; more;) {
      for (std::size_t i = 0; i < contenders_.size(); ++i) {
        rows[i].us.push_back(sample(contenders_[i], in_a_row[i]));
      }
      more = now_us() < end && rows[0].us.size() < 5000;
      MPI_Bcast(&more, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
    if (session_.rank() == 0) print(bytes, rows);
  }

  /// Small whole numbers, which every wire format carries exactly.
  std::size_t wrong(const Contender& contender) {
    std::fill(data_.begin(), data_.end(), static_cast<float>(contender.comm->rank() + 1));
    contender.comm->all_reduce(data_.data(), data_.size(), *stream_, kSite, contender.wire);
    const int ranks = session_.size();
    const float sum = static_cast<float>(ranks * (ranks + 1)) / 2;
    return static_cast<std::size_t>(std::count_if(
        data_.begin(), data_.end(), [&](float x) { return std::abs(x - sum) > 1e-5f * sum; }));
  }

  double sample(const Contender& contender, int times) {
    for (std::size_t i = 0; i < data_.size(); ++i) {
      data_[i] = 1e-6f * static_cast<float>(1 + (i * 7 + contender.comm->rank()) % 251);
    }
    if (options_.pause_us > 0.0) {
      std::this_thread::sleep_for(std::chrono::duration<double, std::micro>(options_.pause_us));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = now_us();
    for (int i = 0; i < times; ++i) {
      contender.comm->all_reduce(data_.data(), data_.size(), *stream_, kSite, contender.wire);
    }
    double took = (now_us() - begin) / times;
    MPI_Allreduce(MPI_IN_PLACE, &took, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return took;
  }

  void print(std::size_t bytes, std::vector<Row>& rows) {
    for (Row& row : rows) std::sort(row.us.begin(), row.us.end());
    const double baseline = rows[0].percentile(0.5);
    const int ranks = session_.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Row& row = rows[i];
      const double p50 = row.percentile(0.5);
      const double algbw = static_cast<double>(bytes) / p50 / 1e3;
      const double busbw = algbw * 2 * (ranks - 1) / ranks;
      fmt::print(
          "{:>8}  {:<24} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f} {:>8.3f} {:>8.3f} {:>6.2f} {:>6}\n",
          text(bytes), contenders_[i].name, row.us.front(), p50, row.percentile(0.99),
          row.us.back(), algbw, busbw, p50 / baseline, row.wrong);
      rows_.push_back({{"bytes", bytes},
                       {"all_reduce", contenders_[i].name},
                       {"min_us", row.us.front()},
                       {"p50_us", p50},
                       {"p99_us", row.percentile(0.99)},
                       {"max_us", row.us.back()},
                       {"algbw_gb_per_s", algbw},
                       {"busbw_gb_per_s", busbw},
                       {"times_mpi", p50 / baseline},
                       {"wrong", row.wrong}});
    }
    std::fflush(stdout);
  }

  static std::string text(std::size_t bytes) {
    if (bytes >= 1 << 20) return fmt::format("{} MiB", bytes >> 20);
    if (bytes >= 1 << 10) return fmt::format("{} KiB", bytes >> 10);
    return fmt::format("{} B", bytes);
  }

  void write() const {
    const nlohmann::json json = {{"schema", "spd.comm_bench/1"},
                                 {"ranks", session_.size()},
                                 {"ranks_per_node", session_.topology().ranks_per_node()},
                                 {"rows", rows_}};
    std::ofstream file(options_.json);
    file << json.dump(2) << '\n';
    if (!file) throw Error(ErrorCode::system, "cannot write " + options_.json);
  }

  MpiSession& session_;
  const Options& options_;
  CpuDevice device_;
  std::unique_ptr<Stream> stream_;
  std::vector<Contender> contenders_;
  std::vector<float> data_;
  nlohmann::json rows_ = nlohmann::json::array();
};

}  // namespace
}  // namespace spd

int main(int argc, char** argv) {
  spd::MpiSession session(&argc, &argv);
  try {
    const spd::Options options = spd::parse(argc, argv);
    spd::Bench(session, options).run();
    return EXIT_SUCCESS;
  } catch (const spd::CommError& error) {
    if (error.reporter()) fmt::print(stderr, "error: {}\n", error.what());
    session.abort(error.exit_status(), error.reporter());
  } catch (const spd::Error& error) {
    if (session.rank() == 0) fmt::print(stderr, "error: {}\n", error.what());
    session.abort(error.exit_status(), session.rank() == 0);
  }
}
