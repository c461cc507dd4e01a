#include "comm/failure/group.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace spd {

namespace {

using Answers = std::vector<std::optional<Position>>;

struct Findings {
  std::vector<int> missing;    // ranks of the job that did not answer
  bool all_in_group = true;    // of the missing
  std::vector<int> arrived;    // ranks of the group at this collective or beyond it
  std::vector<int> elsewhere;  // ranks of the job that answered from another group or before
};

Findings examine(const Answers& answers, const GroupSettings& group, const Collective& collective) {
  Findings findings;
  for (int job_rank = 0; job_rank < static_cast<int>(answers.size()); ++job_rank) {
    const auto& job_ranks = group.members.job_ranks;
    const auto at = std::find(job_ranks.begin(), job_ranks.end(), job_rank);
    const auto& answer = answers[job_rank];
    if (!answer) {
      findings.missing.push_back(job_rank);
      findings.all_in_group &= at != job_ranks.end();
    } else if (at != job_ranks.end() && answer->group == group.id &&
               answer->sequence >= collective.sequence) {
      findings.arrived.push_back(static_cast<int>(at - job_ranks.begin()));
    } else {
      findings.elsewhere.push_back(job_rank);
    }
  }
  return findings;
}

std::string whereabouts(const Answers& answers, const std::vector<int>& job_ranks,
                        const GroupMembers& job) {
  std::vector<std::string> places;
  places.reserve(job_ranks.size());
  for (int rank : job_ranks) {
    places.push_back(
        fmt::format("{} waits at {}", job.name(rank), to_string(answers[rank]->collective())));
  }
  return fmt::format("{}", fmt::join(places, "; "));
}

std::string names(const GroupMembers& members, const std::vector<int>& ranks) {
  std::vector<std::string> list;
  list.reserve(ranks.size());
  for (int rank : ranks) list.push_back(members.name(rank));
  return fmt::format("{}", fmt::join(list, " and "));
}

// A rank of the group whose collective with this sequence number is another; -1 if all agree. One
// that is a few collectives behind is merely slow.
int disagreeing(const Answers& answers, const GroupSettings& group, const Collective& collective) {
  for (int other = 0; other < group.members.size(); ++other) {
    const auto& answer = answers[group.members.job_ranks[other]];
    if (answer && answer->group == group.id && answer->sequence == collective.sequence &&
        !answer->collective().matches(collective)) {
      return other;
    }
  }
  return -1;
}

// A failed collective as this rank sees it: the enclosing one, if there is one.
struct FailedCollective {
  const TransportFailure& failure;
  const GroupSettings& group;
  int rank;  // of the group
  const Collective& collective;

  std::string waiting() const {
    return fmt::format("{} waits at {}", group.members.name(rank), to_string(collective));
  }
  /// What the transport says of it, as an end of the message.
  std::string detail() const { return *failure.what() ? fmt::format(" ({})", failure.what()) : ""; }
  double deadline_s() const { return static_cast<double>(group.deadline.count()) / 1e3; }
};

// Nobody to ask: all that is known is whom this rank waited for.
CommError unanswered(const FailedCollective& failed) {
  const GroupMembers& members = failed.group.members;
  std::vector<int> missing;
  missing.reserve(failed.failure.peers().size());
  for (int peer : failed.failure.peers()) missing.push_back(members.job_ranks[peer]);
  const bool timed_out = failed.failure.cause() == TransportFailure::Cause::timeout;
  return {timed_out ? ErrorCode::timeout : ErrorCode::comm,
          fmt::format("{} for {}{}", failed.waiting(), names(members, failed.failure.peers()),
                      failed.detail()),
          kMissingRemedy, std::move(missing), true};
}

std::string missing_ranks(const FailedCollective& failed, const Findings& found,
                          const GroupMembers& job) {
  const GroupMembers& members = failed.group.members;
  if (!found.all_in_group) {
    return fmt::format("{} did not arrive within {:.1f} s; {}", names(job, found.missing),
                       failed.deadline_s(), failed.waiting());
  }
  std::vector<int> missing;
  for (int job_rank : found.missing) {
    const auto& ranks = members.job_ranks;
    missing.push_back(
        static_cast<int>(std::find(ranks.begin(), ranks.end(), job_rank) - ranks.begin()));
  }
  return missing_message(members, missing, found.arrived, failed.collective, failed.group.deadline);
}

}  // namespace

Transport::Clock::time_point GroupSettings::give_up_at() const {
  const auto grace = failure_detector ? failure_detector->grace() : Communicator::Milliseconds{0};
  return Transport::Clock::now() + deadline - grace;
}

EnclosingScope::EnclosingScope(const EnclosingCollective& enclosing)
    : failure_detector_(enclosing.group.failure_detector.get()) {
  if (failure_detector_ != nullptr) failure_detector_->set_enclosing(&enclosing);
}

EnclosingScope::~EnclosingScope() {
  if (failure_detector_ != nullptr) failure_detector_->set_enclosing(nullptr);
}

CommError diagnose(const TransportFailure& failure, const GroupSettings& step, int step_rank,
                   const Collective& step_collective) {
  const EnclosingCollective* whole =
      step.failure_detector ? step.failure_detector->enclosing() : nullptr;
  const FailedCollective failed{failure, whole ? whole->group : step,
                                whole ? whole->rank : step_rank,
                                whole ? whole->collective : step_collective};
  const GroupSettings& group = failed.group;
  const Collective& collective = failed.collective;
  if (!group.failure_detector) return unanswered(failed);
  FailureDetector& detector = *group.failure_detector;
  // A rank that was stopped and wakes up late finds its peers' positions, or their connections
  // gone.
  const bool detected =
      failure.cause() != TransportFailure::Cause::interrupted && !detector.raised();
  const Answers& answers = detector.exchange(Position::of(group.id, collective, detected));
  const Findings found = examine(answers, group, collective);
  // Of those who gave up by themselves: a rank that was stopped and wakes up late never is.
  const auto first = std::find_if(answers.begin(), answers.end(),
                                  [](const auto& answer) { return answer && answer->detected; });
  const bool reporter = first - answers.begin() == group.members.job_ranks[failed.rank] &&
                        !detector.ended_by_launcher();
  const std::string elsewhere =
      found.elsewhere.empty() ? "" : "; " + whereabouts(answers, found.elsewhere, detector.job());

  if (!found.missing.empty()) {
    const bool timed_out = failure.cause() != TransportFailure::Cause::peer_failed;
    return {timed_out ? ErrorCode::timeout : ErrorCode::comm,
            missing_ranks(failed, found, detector.job()) + elsewhere + failed.detail(),
            kMissingRemedy, found.missing, reporter};
  }
  if (const int other = disagreeing(answers, group, collective); other >= 0) {
    return {ErrorCode::comm,
            mismatch_message(group.members, failed.rank, collective, other,
                             answers[group.members.job_ranks[other]]->collective()),
            kMismatchRemedy,
            {},
            reporter};
  }
  const std::string peers =
      failure.peers().empty() ? "its peers" : names(step.members, failure.peers());
  return {ErrorCode::comm,
          fmt::format("all ranks answer, but {} for {} longer than {:.1f} s{}{}", failed.waiting(),
                      peers, failed.deadline_s(), failed.detail(), elsewhere),
          "check the network between these hosts",
          {},
          reporter};
}

}  // namespace spd
