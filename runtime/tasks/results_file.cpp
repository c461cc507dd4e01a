#include "runtime/tasks/results_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "kernels/device/error.h"
#include "model/hash.h"
#include "model/json_object.h"
#include "runtime/console.h"

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

std::vector<Likelihood> likelihoods_of(const nlohmann::json& json) {
  std::vector<Likelihood> likelihoods;
  const auto& greedy = json.at("greedy");
  for (const auto& value : json.at("log_likelihood_nats")) {
    likelihoods.push_back({value.get<double>(), greedy.at(likelihoods.size()).get<bool>()});
  }
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
  const auto json = parse_json(line, where, kMaxDepth);
  try {
    if (json.contains("schema")) {
      check_header(json, header, file_.file().string());
      return;
    }
    Entry entry{json.at("key").get<std::string>(), {likelihoods_of(json.at("plan")), {}}};
    if (json.contains("baseline")) entry.result.baseline = likelihoods_of(json.at("baseline"));
    known_[{json.at("task").get<std::string>(), json.at("item").get<std::int64_t>()}] =
        std::move(entry);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorCode::input, fmt::format("{}: not a result: {}", where, error.what()),
                "give --items another file, or remove this one");
  }
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
