#include "runtime/evaluation/results_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "kernels/device/error.h"
#include "model/hash.h"
#include "model/json_object.h"
#include "runtime/job/console.h"

namespace spd {
namespace {

nlohmann::json to_json(const std::vector<Likelihood>& likelihoods) {
  nlohmann::json json = {{"log_likelihood_nats", nlohmann::json::array()},
                         {"greedy", nlohmann::json::array()}};
  for (const Likelihood& likelihood : likelihoods) {
    json["log_likelihood_nats"].push_back(likelihood.log_likelihood);
    json["greedy"].push_back(likelihood.greedy);
  }
  return json;
}

std::vector<Likelihood> likelihoods_of(const JsonObject& json) {
  // Of a sum of logarithms of probabilities: rounding may take it a little above 0.
  constexpr double kLeast = -1e9;
  constexpr double kMost = 1e-3;
  json.check_keys({"log_likelihood_nats", "greedy", "acc", "acc_norm"});
  const auto values = json.numbers("log_likelihood_nats", kLeast, kMost);
  const auto greedy = json.booleans("greedy");
  if (values.empty() || values.size() != greedy.size()) {
    json.fail("log_likelihood_nats",
              fmt::format("has {} values and greedy {}", values.size(), greedy.size()));
  }
  std::vector<Likelihood> likelihoods;
  for (std::size_t i = 0; i < values.size(); ++i) likelihoods.push_back({values[i], greedy[i]});
  return likelihoods;
}

void check_header(const nlohmann::json& found, const nlohmann::json& header,
                  const std::string& file) {
  for (const auto& [key, wanted] : header.items()) {
    const auto at = found.find(key);
    if (at != found.end() && *at == wanted) continue;
    throw Error(
        ErrorCode::input,
        fmt::format("{}: its results are of another run: {} is {} there, {} here", file, key,
                    at == found.end() ? "missing" : json_text(*at, -1), json_text(wanted, -1)),
        "give --items another file, or remove this one");
  }
}

}  // namespace

std::string content_key(const EncodedItem& item) { return hash_ids(pack({&item, 1})); }

ResultsFile::ResultsFile(OutputFile file, const nlohmann::json& header) : file_(std::move(file)) {
  // As it is read again: names that are no text are others then.
  const std::string line = json_text(header, -1) + '\n';
  if (file_.place().empty()) {
    file_.write(line);
    return;
  }
  const std::uintmax_t whole = read(nlohmann::json::parse(line));
  descriptor_ = Descriptor(
      ::open(file_.place().c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!descriptor_ || ::ftruncate(descriptor_.get(), static_cast<off_t>(whole)) != 0) {
    throw_unwritable(file_.file(), errno);
  }
  if (whole == 0) pending_ = line;
  flush();
}

ResultsFile::~ResultsFile() {
  if (descriptor_) ::fdatasync(descriptor_.get());
}

std::uintmax_t ResultsFile::read(const nlohmann::json& header) {
  std::ifstream stream(file_.place(), std::ios::binary);
  std::uintmax_t whole = 0;
  std::int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    if (stream.eof()) break;  // no line's end: the writer was cut off
    ++number;
    read_line(line, header, fmt::format("{} line {}", file_.file().string(), number));
    whole += line.size() + 1;
  }
  return whole;
}

void ResultsFile::read_line(const std::string& line, const nlohmann::json& header,
                            const std::string& where) {
  constexpr int kMaxDepth = 6;
  const auto baseline = header.find("baseline");
  const bool compared = baseline != header.end() && *baseline != "none";
  const bool alone = baseline != header.end() && *baseline == "none";
  const JsonObject json = JsonObject::parse(line, where + ": not a result", kMaxDepth)
                              .advising("give --items another file, or remove this one");
  if (json.contains("schema")) {
    json.check_keys({"schema", "version", "model", "fingerprint", "tp", "ranks_per_node",
                     "kv_dtype", "plan", "baseline"});
    check_header(json.value(), header, file_.file().string());
    return;
  }
  json.check_keys({"task", "item", "key", "gold", "plan", "baseline"});
  Entry entry{json.string("key"), {likelihoods_of(json.object("plan")), {}}};
  if (json.has("baseline") && !alone) {
    entry.result.baseline = likelihoods_of(json.object("baseline"));
  }
  // What lacks the baseline that is asked for is not done.
  if (compared && entry.result.baseline.empty()) return;
  known_[{json.string("task"), json.integer("item", 0)}] = std::move(entry);
}

const ItemResult* ResultsFile::find(const std::string& task, std::int64_t number,
                                    const std::string& key) const {
  const auto found = known_.find({task, number});
  return found != known_.end() && found->second.key == key ? &found->second.result : nullptr;
}

void ResultsFile::append(const std::string& task, std::int64_t number, const std::string& key,
                         const ItemResult& result, const nlohmann::json& extra) {
  nlohmann::json json = {{"task", task}, {"item", number}, {"key", key}};
  json.update(extra);
  json["plan"].update(to_json(result.plan));
  if (!result.baseline.empty()) json["baseline"].update(to_json(result.baseline));
  pending_ += json_text(json, -1) + '\n';
}

void ResultsFile::flush() {
  if (!descriptor_) {
    file_.write(std::exchange(pending_, {}));
    return;
  }
  const off_t before = ::lseek(descriptor_.get(), 0, SEEK_END);
  int reason = write_through(descriptor_.get(), pending_);
  pending_.clear();
  const auto now = std::chrono::steady_clock::now();
  if (reason == 0 && now - synced_ > std::chrono::seconds(1)) {
    if (::fdatasync(descriptor_.get()) != 0 && errno != EINVAL) reason = errno;
    synced_ = now;
  }
  if (reason == 0) return;
  // Half a line is of no use to whoever reads the file.
  [[maybe_unused]] const int undone = ::ftruncate(descriptor_.get(), before);
  try {
    throw_unwritable(file_.file(), reason);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("--items {}", error.what()));
  }
}

}  // namespace spd
