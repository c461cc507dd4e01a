// The backends of a job's groups, chosen from what is there and what the user asked for.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/message_communicator.h"
#include "comm/mpi_session.h"
#include "comm/rank_comms.h"

namespace spd {

/// `thread` is what virtual ranks use; processes refuse it.
enum class IntraBackend { automatic, shm, mpi, thread };
enum class InterBackend { automatic, ucx, mpi };
/// "auto", "shm", "mpi", "thread"; "auto", "ucx", "mpi". Throw usage Error for other texts.
IntraBackend parse_intra_backend(std::string_view text);
InterBackend parse_inter_backend(std::string_view text);

struct BackendOptions {
  IntraBackend intra = IntraBackend::automatic;
  InterBackend inter = InterBackend::automatic;
  AlgorithmTable algorithms{};  ///< of messages across nodes; none: default_algorithms()
  bool flat = false;            ///< no hierarchy: every rank to every rank
  int rails = 0;                ///< ranks of a node that talk across at once; 0: by size
};

/// Throws usage Error where a node has fewer ranks than `rails`; 0 fits always.
void check_rails(int rails, const Topology& topology);

/// One decision and why, for `spd topo` to print.
struct BackendChoice {
  std::string what;    ///< "within a node", "across nodes", "all ranks", "all-reduce across nodes"
  std::string chosen;  ///< "shm", "ucx", "hierarchical", "one_shot,scatter_gather:16384"
  std::string reason;
};

/// The groups of one rank of a job of processes.
class ProcessComms {
 public:
  /// Collective over the job. Throws usage Error for options that do not go together, and Error
  /// where a backend that was asked for (rather than chosen) cannot be had.
  ProcessComms(MpiSession& session, const BackendOptions& options);

  /// Pointers into this object.
  RankComms comms() const;
  const std::vector<BackendChoice>& choices() const { return choices_; }
  /// "within nodes" or "across nodes", where order_varies_with_size(); or empty.
  const std::string& sums_vary_with_size() const { return sums_vary_with_size_; }

 private:
  void make_node(MpiSession& session, IntraBackend wanted);
  void make_across(MpiSession& session, const BackendOptions& options);
  void start_ucx(MpiSession& session, InterBackend asked);
  void make_hierarchical(MpiSession& session, const BackendOptions& options);
  std::shared_ptr<Communicator> make_inter(MpiSession& session, const std::vector<int>& ranks,
                                           const BackendOptions& options);

  int rank_;
  Topology topology_;
  std::shared_ptr<UcxWorker> worker_;    // null: no UCX
  std::shared_ptr<Communicator> node_;   // ranks of this node
  std::shared_ptr<Communicator> rail_;   // this rank's rail, or null
  std::shared_ptr<Communicator> world_;  // all ranks
  std::vector<BackendChoice> choices_;
  std::string sums_vary_with_size_;
};

}  // namespace spd
