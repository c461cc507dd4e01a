#include "runtime/tasks/results_file.h"

#include <fmt/format.h>

#include "kernels/device/error.h"
#include "model/hash.h"
#include "model/json_object.h"

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
    throw Error(ErrorCode::input,
                fmt::format("{}: its results are of another run: {} is {} there, {} here", file,
                            key, at == found.end() ? "missing" : at->dump(), wanted.dump()),
                "give --items another file, or remove this one");
  }
}

}  // namespace

std::string content_key(const EncodedItem& item) { return hash_ids(pack({&item, 1})); }

ResultsFile::ResultsFile(const std::filesystem::path& file, const nlohmann::json& header)
    : file_(file) {
  const bool exists = std::filesystem::exists(file);
  if (exists) {
    const std::uintmax_t whole = read(header);
    std::error_code error;
    if (whole != std::filesystem::file_size(file)) std::filesystem::resize_file(file, whole, error);
  }
  stream_.open(file, std::ios::binary | std::ios::app);
  if (!exists || std::filesystem::file_size(file) == 0) stream_ << header.dump() << '\n';
  flush();
}

std::uintmax_t ResultsFile::read(const nlohmann::json& header) {
  std::ifstream stream(file_, std::ios::binary);
  std::uintmax_t whole = 0;
  std::int64_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    if (stream.eof()) break;  // no line's end: the writer was cut off
    ++number;
    read_line(line, header, fmt::format("{} line {}", file_.string(), number));
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
  try {
    const JsonObject json = JsonObject::parse(line, where, kMaxDepth);
    if (json.contains("schema")) {
      check_header(json.value(), header, where);
      return;
    }
    Entry entry{json.string("key"), {likelihoods_of(json.object("plan")), {}}};
    if (json.has("baseline") && !alone) {
      entry.result.baseline = likelihoods_of(json.object("baseline"));
    }
    // What lacks the baseline that is asked for is not done.
    if (compared && entry.result.baseline.empty()) return;
    known_[{json.string("task"), json.integer("item", 0)}] = std::move(entry);
  } catch (const Error& error) {
    const std::string_view what = error.what();
    if (what.find("remedy: ") != std::string_view::npos) throw;
    throw Error(ErrorCode::input, fmt::format("{}: not a result", what),
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
  stream_ << json.dump() << '\n';
}

void ResultsFile::flush() {
  stream_.flush();
  if (!stream_) {
    throw Error(ErrorCode::system, fmt::format("{}: cannot write the results", file_.string()),
                "check that --items names a file in a folder that exists and has space");
  }
}

}  // namespace spd
