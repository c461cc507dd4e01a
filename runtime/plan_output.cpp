#include "runtime/plan_output.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "kernels/device/error.h"
#include "model/input_file.h"
#include "runtime/command.h"
#include "runtime/console.h"

namespace spd {
namespace {

// The repairs beside the plan that is at `place` now, if it is one of ours; nothing where there is
// none, or what is there is no plan.
std::filesystem::path repairs_of(const std::filesystem::path& place) {
  try {
    const auto json = nlohmann::json::parse(read_file(place), nullptr, false);
    const std::filesystem::path file = json.at("repair").at("file").get<std::string>();
    if (file.has_parent_path() || !RepairFile::is_name_beside(place, file)) return {};
    return place.parent_path() / file;
  } catch (const std::exception&) {
    return {};
  }
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

// `made`: the plan's repairs were put there for it.
std::string put_in_place(const OutputFile& out, const SyncPlan& plan, bool made,
                         const ModelConfig& config, const nlohmann::json& more) {
  const std::filesystem::path& place = out.place();
  const std::filesystem::path old = place.empty() ? place : repairs_of(place);
  const bool kept = plan.repair && !old.empty() && same_file(old, plan.repair->file);
  std::error_code ignored;
  try {
    nlohmann::json json = plan.to_json(config, place.empty() ? "." : place.parent_path());
    json.update(more);
    out.write_json(json);
  } catch (const std::exception&) {
    // The old plan stays, and with it nothing that it does not know of.
    if (made && !kept) std::filesystem::remove(plan.repair->file, ignored);
    throw;
  }
  if (!old.empty() && !kept) std::filesystem::remove(old, ignored);
  if (!plan.repair) return out.file().string();
  return fmt::format("{} and {}", out.file().string(),
                     (out.file().parent_path() / plan.repair->file.filename()).string());
}

}  // namespace

std::string write_plan(const OutputFile& out, SyncPlan& plan, const ModelConfig& config,
                       const nlohmann::json& more) {
  bool made = false;
  if (plan.repair && !out.place().empty() && !is_beside(plan.repair->file, out.place())) {
    plan.repair = copy_beside(out.place(), *plan.repair);
    made = true;
  }
  return put_in_place(out, plan, made, config, more);
}

std::string write_repaired_plan(const RankContext& context, const Engine& engine,
                                const std::vector<RankRepair>& ranks, const OutputFile& out) {
  std::string written;
  agree(context.comms, "writing the plan", [&] {
    if (!context.root()) return;
    SyncPlan plan = engine.plan();
    plan.repair.reset();
    if (!ranks.empty()) {
      const DType dtype = engine.transformer().shard().blocks[0].qkv.dtype;
      plan.repair = RepairFile::write_beside(out.place(), plan, ranks, dtype);
    }
    written =
        put_in_place(out, plan, plan.repair.has_value(), engine.config(), nlohmann::json::object());
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
