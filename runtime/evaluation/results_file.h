// What was scored so far, an item a line of JSON: written as it goes, read again to go on.
//
// The first line says what the results are of ({"schema": "spd.task-items/1", ...}); files of the
// same run over different shards can be put one behind the other.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "runtime/evaluation/likelihood.h"
#include "runtime/report/output_file.h"

namespace spd {

/// Likelihoods of an item's requests; `baseline` is empty where none was run.
struct ItemResult {
  std::vector<Likelihood> plan, baseline;
};

class ResultsFile {
 public:
  /// Reads what `file` holds, if it is there, and appends from then on. A last line that was cut
  /// off is dropped. Throws input Error where the file is of another run than `header` says or is
  /// damaged, system Error where it cannot be written.
  ResultsFile(OutputFile file, const nlohmann::json& header);
  ResultsFile(const std::filesystem::path& file, const nlohmann::json& header)
      : ResultsFile(OutputFile("--items", file, OutputKind::any), header) {}
  ResultsFile(const ResultsFile&) = delete;
  ResultsFile& operator=(const ResultsFile&) = delete;
  ~ResultsFile();

  /// What is known of an item; `key` is its content's. Null where nothing is, or of other content.
  const ItemResult* find(const std::string& task, std::int64_t number,
                         const std::string& key) const;
  /// Puts down one item; `extra` fields go into its line, for readers. Not read back.
  void append(const std::string& task, std::int64_t number, const std::string& key,
              const ItemResult& result, const nlohmann::json& extra);
  /// Hands what was appended to the system and, if the last time is a second ago, to the disk.
  /// Throws system Error where that fails; the lines before stay whole.
  void flush();

 private:
  struct Entry {
    std::string key;
    ItemResult result;
  };
  /// Gives back the length of the part that is whole.
  std::uintmax_t read(const nlohmann::json& header);
  void read_line(const std::string& line, const nlohmann::json& header, const std::string& where);

  OutputFile file_;
  Descriptor descriptor_;  // of a regular file
  std::string pending_;    // lines to be handed over
  std::chrono::steady_clock::time_point synced_{};
  std::map<std::pair<std::string, std::int64_t>, Entry> known_;
};

/// Identifies an item's requests: their token ids.
std::string content_key(const EncodedItem& item);

}  // namespace spd
