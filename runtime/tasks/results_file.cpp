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
  const auto json = parse_json(line, where, kMaxDepth);
  try {
    if (json.contains("schema")) {
      check_header(json, header, file_.string());
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
