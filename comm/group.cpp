#include "comm/group.h"

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

}  // namespace

Transport::Clock::time_point GroupSettings::give_up_at() const {
  const auto grace = roll_call ? roll_call->grace() : Communicator::Milliseconds{0};
  return Transport::Clock::now() + deadline - grace;
}

CompositeScope::CompositeScope(const Composite& composite)
    : roll_call_(composite.group.roll_call.get()) {
  if (roll_call_ != nullptr) roll_call_->set_composite(&composite);
}

CompositeScope::~CompositeScope() {
  if (roll_call_ != nullptr) roll_call_->set_composite(nullptr);
}

CommError account_for(const TransportFailure& failure, const GroupSettings& step, int step_rank,
                      const Collective& step_collective) {
  const Composite* whole = step.roll_call ? step.roll_call->composite() : nullptr;
  const GroupSettings& group = whole ? whole->group : step;
  const int rank = whole ? whole->rank : step_rank;
  const Collective& collective = whole ? whole->collective : step_collective;
  if (!group.roll_call) {
    // Nobody to ask: all we know is whom we waited for.
    std::vector<int> missing;
    missing.reserve(failure.peers().size());
    for (int peer : failure.peers()) missing.push_back(group.members.job_ranks[peer]);
    const std::string owed = names(group.members, failure.peers());
    return {
        failure.cause() == TransportFailure::Cause::timeout ? ErrorCode::timeout : ErrorCode::comm,
        fmt::format("{} waits at {} for {}{}", group.members.name(rank), to_string(collective),
                    owed, *failure.what() ? fmt::format(" ({})", failure.what()) : ""),
        kMissingRemedy, std::move(missing), true};
  }
  // A rank that was stopped and wakes up late finds its peers' word, or their connections gone.
  const bool caller =
      failure.cause() != TransportFailure::Cause::interrupted && !group.roll_call->raised();
  const Answers& answers = group.roll_call->call(Position::of(group.id, collective, caller));
  const GroupMembers& job = group.roll_call->job();
  const Findings found = examine(answers, group, collective);
  // Of those who gave up by themselves: a rank that was stopped and wakes up late never is.
  const auto first = std::find_if(answers.begin(), answers.end(),
                                  [](const auto& answer) { return answer && answer->caller; });
  const bool spokesman = first - answers.begin() == group.members.job_ranks[rank] &&
                         !group.roll_call->ended_by_launcher();
  const std::string detail = *failure.what() ? fmt::format(" ({})", failure.what()) : "";

  if (!found.missing.empty()) {
    const bool timed_out = failure.cause() != TransportFailure::Cause::peer_failed;
    std::string message;
    if (found.all_in_group) {
      std::vector<int> missing;
      for (int job_rank : found.missing) {
        const auto& ranks = group.members.job_ranks;
        missing.push_back(
            static_cast<int>(std::find(ranks.begin(), ranks.end(), job_rank) - ranks.begin()));
      }
      message = missing_message(group.members, missing, found.arrived, collective, group.deadline);
    } else {
      message =
          fmt::format("{} did not arrive within {:.1f} s; {} waits at {}",
                      names(job, found.missing), static_cast<double>(group.deadline.count()) / 1e3,
                      group.members.name(rank), to_string(collective));
    }
    if (!found.elsewhere.empty()) message += "; " + whereabouts(answers, found.elsewhere, job);
    return {timed_out ? ErrorCode::timeout : ErrorCode::comm, message + detail, kMissingRemedy,
            found.missing, spokesman};
  }
  if (const int other = disagreeing(answers, group, collective); other >= 0) {
    return {ErrorCode::comm,
            mismatch_message(group.members, rank, collective, other,
                             answers[group.members.job_ranks[other]]->collective()),
            kMismatchRemedy,
            {},
            spokesman};
  }
  std::string message = fmt::format(
      "all ranks answer, but {} waits at {} for {} longer than {:.1f} s{}",
      group.members.name(rank), to_string(collective),
      failure.peers().empty() ? std::string("its peers") : names(step.members, failure.peers()),
      static_cast<double>(group.deadline.count()) / 1e3, detail);
  if (!found.elsewhere.empty()) message += "; " + whereabouts(answers, found.elsewhere, job);
  return {ErrorCode::comm, message, "check the network between these hosts", {}, spokesman};
}

}  // namespace spd
