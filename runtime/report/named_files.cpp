#include "runtime/report/named_files.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "model/input_file.h"
#include "runtime/report/output_file.h"

namespace spd {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr std::array<std::string_view, 4> kOutputs{"json", "out", "items", "plot"};
constexpr std::array<std::string_view, 13> kInputs{
    "model",  "data", "text", "prompts", "topology", "sensitivity", "repair",
    "config", "algo", "plan", "merge",   "baseline", "against"};
constexpr std::string_view kWeights = ".safetensors";
constexpr std::array<std::string_view, 10> kModelFiles{"config.json",
                                                       "generation_config.json",
                                                       "tokenizer.json",
                                                       "tokenizer_config.json",
                                                       "special_tokens_map.json",
                                                       "added_tokens.json",
                                                       "chat_template.json",
                                                       "chat_template.jinja",
                                                       "vocab.json",
                                                       "merges.txt"};

std::vector<std::string> given(const po::variables_map& values, std::string_view option) {
  const auto found = values.find(std::string(option));
  if (found == values.end()) return {};
  if (const auto* one = boost::any_cast<std::string>(&found->second.value())) return {*one};
  const auto* several = boost::any_cast<std::vector<std::string>>(&found->second.value());
  return several ? *several : std::vector<std::string>();
}

// Those files of a folder that `wanted` takes; of a folder that cannot be read none, which is for
// whoever reads it to say.
template <class Wanted>
void add_files_of(const NamedFile& folder, const Wanted& wanted, std::vector<NamedFile>& files) {
  std::error_code error;
  for (fs::directory_iterator at(folder.file, error), end; !error && at != end;
       at.increment(error)) {
    if (wanted(at->path().filename().string())) files.push_back({folder.flag, at->path()});
  }
}

bool is_of_model(const std::string& name) {
  return name.ends_with(kWeights) || name.ends_with(".safetensors.index.json") ||
         name.ends_with(".model") ||
         std::find(kModelFiles.begin(), kModelFiles.end(), name) != kModelFiles.end();
}

// The repairs that a plan names. What is no plan is for whoever reads it to refuse.
void add_repairs(const NamedFile& plan, std::vector<NamedFile>& files) {
  std::error_code error;
  if (!fs::is_regular_file(plan.file, error)) return;  // a pipe can be read once
  try {
    const auto json = nlohmann::json::parse(read_file(plan.file));
    const fs::path repairs = json.at("repair").at("file").get<std::string>();
    files.push_back({"the repairs of " + plan.flag, plan.file.parent_path() / repairs});
  } catch (const std::exception&) {
  }
}

// With the files that inputs name or hold.
std::vector<NamedFile> all_inputs(const NamedFiles& files) {
  const auto is_weights = [](const NamedFile& file) {
    return file.file.string().ends_with(kWeights);
  };
  // Plans are large, and repairs have such a name.
  const bool asks_for_repairs = std::any_of(files.outputs.begin(), files.outputs.end(), is_weights);
  std::vector<NamedFile> all;
  for (const NamedFile& input : files.inputs) {
    if (input.flag == "--model") {
      add_files_of(input, is_of_model, all);
    } else if (input.flag == "--data") {
      add_files_of(
          input, [](const std::string& name) { return name.ends_with(".jsonl"); }, all);
    } else {
      all.push_back(input);
      if (asks_for_repairs) add_repairs(input, all);
    }
  }
  return all;
}

// What the names of one file have in common; none for what may be named again and again.
std::optional<std::string> identity_of(const struct stat& status) {
  if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode)) return std::nullopt;
  return fmt::format("{}:{}", status.st_dev, status.st_ino);
}

std::optional<std::string> identity_of_descriptor(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 ? identity_of(status) : std::nullopt;
}

std::optional<std::string> identity_of(const fs::path& file, int standard) {
  if (file == "-") {
    return identity_of_descriptor(standard).value_or(fmt::format("descriptor {}", standard));
  }
  struct stat status {};
  if (::stat(file.c_str(), &status) == 0) return identity_of(status);
  std::error_code error;
  fs::path end = file;
  try {
    end = follow_links(file);
  } catch (const Error&) {
    return std::nullopt;  // opening it says why
  }
  end = fs::weakly_canonical(end, error);
  return error ? std::nullopt : std::optional("path " + end.string());
}

std::string shown(const NamedFile& named) {
  return fmt::format("{} {}", named.flag, printable(named.file.string()));
}

[[noreturn]] void refuse(const std::string& one, const std::string& other,
                         const std::string& remedy) {
  throw Error(ErrorCode::usage, fmt::format("{} and {} are one file", one, other), remedy);
}

void check_against_stdout(const NamedFile& named, const std::string& identity, bool is_input) {
  struct stat status {};
  if (::fstat(STDOUT_FILENO, &status) != 0 || !S_ISREG(status.st_mode)) return;
  if (identity_of(status) != identity) return;
  refuse(shown(named), "stdout",
         is_input ? "send stdout elsewhere: what is printed would come into the input"
                  : "send stdout elsewhere, or write through it: /dev/stdout");
}

void check(const NamedFiles& files, PlanInPlace in_place) {
  const std::vector<NamedFile> all = all_inputs(files);
  std::vector<std::pair<const NamedFile*, std::string>> inputs;
  const NamedFile* from_stdin = nullptr;
  for (const NamedFile& input : all) {
    if (input.file == "-" && from_stdin) {
      throw Error(ErrorCode::usage,
                  fmt::format("{} and {} are both stdin", shown(*from_stdin), shown(input)),
                  "it can be read once: put one into a file");
    }
    if (input.file == "-") from_stdin = &input;
    auto identity = identity_of(input.file, STDIN_FILENO);
    if (!identity) continue;
    check_against_stdout(input, *identity, true);
    inputs.emplace_back(&input, std::move(*identity));
  }
  std::vector<std::pair<const NamedFile*, std::string>> outputs;
  for (const NamedFile& output : files.outputs) {
    auto identity = identity_of(output.file, STDOUT_FILENO);
    if (!identity) continue;
    const bool is_stdout = output.file == "-" || own_descriptor(output.file) == STDOUT_FILENO;
    if (!is_stdout) check_against_stdout(output, *identity, false);
    for (const auto& [input, theirs] : inputs) {
      if (theirs != *identity) continue;
      if (in_place == PlanInPlace::yes && input->flag == "--plan" && output.flag == "--out") {
        continue;
      }
      refuse(shown(*input), shown(output), "the input would be lost: write to another file");
    }
    for (const auto& [other, theirs] : outputs) {
      if (theirs == *identity) {
        refuse(shown(*other), shown(output), "one would take the other's place: name two files");
      }
    }
    outputs.emplace_back(&output, std::move(*identity));
  }
}

}  // namespace

NamedFiles named_files(const po::variables_map& values) {
  NamedFiles files;
  for (const std::string_view option : kInputs) {
    for (const std::string& file : given(values, option)) {
      // Some take words as well as files.
      if (option == "algo" && !file.ends_with(".json")) continue;
      if (file == "full" || file == "none" || file == "auto") continue;
      files.inputs.push_back({fmt::format("--{}", option), file});
    }
  }
  for (const std::string_view option : kOutputs) {
    for (const std::string& file : given(values, option)) {
      files.outputs.push_back({fmt::format("--{}", option), file});
      if (option != "out" || file == "-") continue;
      // What is kept beside it on the way.
      for (const char* store : {".trials", ".progress"}) {
        files.outputs.push_back({"--out", file + store});
      }
    }
  }
  return files;
}

void check_apart(const RankContext& context, const NamedFiles& files, PlanInPlace in_place) {
  agree(context.comms, "looking at the files", [&] {
    if (context.root()) check(files, in_place);
  });
}

}  // namespace spd
