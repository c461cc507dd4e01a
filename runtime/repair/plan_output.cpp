#include "runtime/repair/plan_output.h"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "model/input_file.h"
#include "runtime/commands/command.h"
#include "runtime/job/console.h"

namespace spd {
namespace {

// The plan that is about to be replaced, as far as it is to be known.
struct OldPlan {
  std::filesystem::path repairs;  // beside it, if they are of ours; or empty
  bool under_way = false;         // see PlanState
};

// Nothing where there is none, or what is there is no plan.
OldPlan old_plan(const std::filesystem::path& place) {
  try {
    const auto json = nlohmann::json::parse(read_file(place));
    const std::filesystem::path file = json.at("repair").at("file").get<std::string>();
    if (file.has_parent_path() || !RepairFile::is_name_beside(place, file)) return {};
    return {place.parent_path() / file, !json.value("complete", true)};
  } catch (const std::exception&) {
    return {};
  }
}

// Whether another JSON file in the plan's folder has the repairs' name in it; what cannot be read
// may have.
bool others_name(const std::filesystem::path& place, const std::filesystem::path& repairs) {
  std::string name = json_text(nlohmann::json(repairs.filename().string()));
  name = name.substr(1, name.size() - 2);  // as it is within a path
  try {
    for (const auto& entry : std::filesystem::directory_iterator(place.parent_path())) {
      if (entry.path().extension() != ".json" || entry.path().filename() == place.filename()) {
        continue;
      }
      if (!entry.is_regular_file() || read_file(entry.path()).find(name) != std::string::npos) {
        return true;
      }
    }
  } catch (const std::exception&) {
    return true;
  }
  return false;
}

// The new plan is there. Who copied the old one, wherever to, has but a name of its repairs.
void leave_old_repairs(const OutputFile& out, const OldPlan& old) {
  if (old.under_way && !others_name(out.place(), old.repairs)) {
    std::error_code ignored;
    std::filesystem::remove(old.repairs, ignored);
    return;
  }
  fmt::print(stderr, "spd: {} has new repairs; {} stays for copies of the plan that was there\n",
             printable(out.file().string()),
             printable((out.file().parent_path() / old.repairs.filename()).string()));
}

std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    names.insert(at->path().filename().string());
  }
  return names;
}

// A file of the same content in out's folder.
RepairReference copy_beside(const std::filesystem::path& out, const RepairReference& from) {
  std::ifstream stream(from.file, std::ios::binary);
  FileWriter writer(out);
  writer.rename(RepairFile::name_beside(out, from.hash));
  std::vector<char> piece(std::size_t{1} << 20);
  while (stream) {
    stream.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    writer.write({piece.data(), static_cast<std::size_t>(stream.gcount())});
  }
  if (!stream.eof()) {
    throw Error(ErrorCode::input, fmt::format("{}: cannot be read", from.file.string()),
                "the plan refers to it: keep the two together");
  }
  writer.commit();
  return {writer.file(), from.hash};
}

bool same_file(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code error;
  return std::filesystem::equivalent(a, b, error);
}

bool is_beside(const std::filesystem::path& file, const std::filesystem::path& place) {
  return same_file(std::filesystem::absolute(file).parent_path(), place.parent_path());
}

// `made`: the plan's repairs were put there for it, and were not there before.
std::string put_in_place(const OutputFile& out, const SyncPlan& plan, bool made,
                         const ModelConfig& config, const nlohmann::json& more) {
  const std::filesystem::path& place = out.place();
  const OldPlan old = place.empty() ? OldPlan() : old_plan(place);
  const bool kept =
      plan.repair && !old.repairs.empty() && same_file(old.repairs, plan.repair->file);
  try {
    nlohmann::json json = plan.to_json(config, place.empty() ? "." : place.parent_path());
    json.update(more);
    out.write_json(json);
  } catch (const std::exception&) {
    // The old plan stays, and with it nothing that it does not know of.
    std::error_code ignored;
    if (made) std::filesystem::remove(plan.repair->file, ignored);
    throw;
  }
  if (!old.repairs.empty() && !kept) leave_old_repairs(out, old);
  if (out.file() == kStdout) return "to stdout";
  if (!plan.repair) return out.file().string();
  return fmt::format("{} and {}", out.file().string(),
                     (out.file().parent_path() / plan.repair->file.filename()).string());
}

}  // namespace

std::string write_plan(const OutputFile& out, SyncPlan& plan, const ModelConfig& config,
                       const nlohmann::json& more) {
  bool made = false;
  if (plan.repair && !out.place().empty() && !is_beside(plan.repair->file, out.place())) {
    const auto before = names_in(out.place().parent_path());
    plan.repair = copy_beside(out.place(), *plan.repair);
    made = !before.contains(plan.repair->file.filename().string());
  }
  return put_in_place(out, plan, made, config, more);
}

std::string write_repaired_plan(const RankContext& context, const Engine& engine,
                                const std::vector<RankRepair>& ranks, const OutputFile& out,
                                PlanState state) {
  std::string written;
  agree(context.comms, "writing the plan", [&] {
    if (!context.root()) return;
    SyncPlan plan = engine.plan();
    plan.repair.reset();
    bool made = false;
    if (!ranks.empty()) {
      const auto before = names_in(out.place().parent_path());
      const DType dtype = engine.transformer().shard().blocks[0].qkv.dtype;
      plan.repair = RepairFile::write_beside(out.place(), plan, ranks, dtype);
      made = !before.contains(plan.repair->file.filename().string());
    }
    nlohmann::json more = nlohmann::json::object();
    if (state == PlanState::under_way) more["complete"] = false;
    written = put_in_place(out, plan, made, engine.config(), more);
  });
  return written;
}

void pass_through(RankContext& context, Engine& engine, const char* kind, const OutputFile& out,
                  const OutputFile& results) {
  agree(context.comms, "writing the plan", [&] {
    if (!context.root()) return;
    SyncPlan plan = engine.plan();
    say("the plan leaves out no sync: there is nothing to make up for\nwritten as it is: {}\n",
        write_plan(out, plan, engine.config(), nlohmann::json::object()));
  });
  nlohmann::json json = result_header(kind, engine);
  json["blocks"] = nlohmann::json::array();
  write_json(context, results, json, out.file().string());
}

}  // namespace spd
