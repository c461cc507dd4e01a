// spd sensitivity: what each sync point is worth, on a text.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>

#include "kernels/device/comma_list.h"
#include "kernels/device/error.h"
#include "kernels/device/log.h"
#include "model/hash.h"
#include "runtime/commands/command.h"
#include "runtime/inference/text_input.h"
#include "runtime/job/agreed_error.h"
#include "runtime/job/console.h"
#include "runtime/job/interrupt.h"
#include "runtime/job/progress.h"
#include "runtime/planning/sensitivity.h"
#include "runtime/report/output_file.h"
#include "runtime/report/statistics.h"
#include "runtime/report/svg_plot.h"

namespace spd {
namespace {

constexpr const char* kUsage =
    "spd sensitivity: how much worse a text is predicted when a sync point is changed.\n\n"
    "  mpirun -n R spd sensitivity --model DIR --text FILE --json OUT [options]";
constexpr const char* kExamples =
    "Forms. single: one sync is changed, all others are full. backward: syncs are changed from "
    "the\n"
    "last block towards the first, and a block's share is the difference it makes (the order of\n"
    "arXiv 2502.20727). Give calibration text, not the text that a plan is judged on. The inputs "
    "of\n"
    "all blocks are kept in memory for the windows of one step: blocks x batch-tokens x hidden x "
    "4\n"
    "bytes a rank.\n"
    "The file of --json is written as the work goes; the same command goes on where it was "
    "stopped,\n"
    "and more windows, forms or levels asked for later are added to it.\n\n"
    "Examples:\n"
    "  mpirun -n 2 spd sensitivity -m DIR --text valid.txt --limit 4 --json s.json --plot s.svg\n"
    "  spd sensitivity -m DIR --text valid.txt --virtual-ranks 8 --virtual-nodes 2 --json s.json\n"
    "  mpirun -n 2 spd sensitivity -m DIR --plan repaired.json --text valid.txt --formats "
    "bf16,int8 \\\n      --json s.json\n";

using Clock = std::chrono::steady_clock;

// Parses "a,b,c" with `parse`, naming the flag where an item is unknown.
template <class T, class Parse>
std::vector<T> parse_list(const char* flag, const std::string& text, Parse parse) {
  std::vector<T> values;
  if (text == "none") return values;
  for (const std::string_view item : split_commas(text)) {
    try {
      values.push_back(parse(item));
    } catch (const Error& error) {
      throw Error(ErrorCode::usage, fmt::format("{} {}: {}", flag, text, error.message()),
                  error.remedy());
    }
  }
  return values;
}

struct Options {
  CommonOptions common;
  StartOptions start;
  NamedFiles files;
  SensitivityOptions work;
  std::string text;
  std::string plot;

  void parse(const std::vector<std::string>& arguments) {
    std::string forms = "single";
    std::string points = "attn,mlp";
    std::string levels = "drop,node";
    std::string formats = "none";
    work.windows.limit = 8;
    po::options_description what("What to measure");
    what.add_options()  //
        ("text", po::value(&text)->value_name("FILE")->required(),
         "UTF-8 text to calibrate on; -: stdin")  //
        ("window", po::value(&work.windows.window)->value_name("N"),
         "tokens of a window (default 512)")  //
        ("stride", po::value(&work.windows.stride)->value_name("N"),
         "tokens from one window to the next (default: the window)")  //
        ("limit", po::value(&work.windows.limit)->value_name("W"),
         "windows at most, 0: all (default 8)")                                                //
        ("forms", po::value(&forms)->value_name("LIST"), "single, backward (default single)")  //
        ("points", po::value(&points)->value_name("LIST"), "attn, mlp (default both)")         //
        ("levels", po::value(&levels)->value_name("LIST"),
         "drop, node, or none (default drop,node; node only where nodes have several ranks)")  //
        ("formats", po::value(&formats)->value_name("LIST"),
         "wire formats to try full syncs with: bf16, int8 (default none)")  //
        ("plot", po::value(&plot)->value_name("FILE.svg"), "plot the sensitivities by block");
    po::options_description all;
    all.add(what).add(common.describe()).add(start.describe());
    work.windows.stride = 0;
    files = parse_arguments(all, arguments, kUsage, kExamples);
    work.forms = parse_list<SensitivityForm>("--forms", forms, parse_sensitivity_form);
    work.points = parse_list<SyncPoint>("--points", points, parse_sync_point);
    work.levels = parse_list<SyncLevel>("--levels", levels, parse_sync_level);
    work.wires = parse_list<WireFormat>("--formats", formats, parse_wire_format);
    if (work.windows.stride == 0) work.windows.stride = work.windows.window;
    if (work.windows.window < 2 || work.windows.stride < 1 || work.windows.limit < 0) {
      throw Error(ErrorCode::usage,
                  "--window must be at least 2, --stride at least 1, --limit at least 0",
                  "see spd sensitivity --help");
    }
    EngineOptions& engine = common.engine;
    if (!engine.drop.empty() || !engine.node.empty() || !engine.wire.empty()) {
      throw Error(ErrorCode::usage,
                  "--drop, --node and --wire have no meaning here: every other sync is full",
                  "choose what to try with --levels and --formats");
    }
    engine.batch_tokens = std::max(engine.batch_tokens, work.windows.window);
  }
};

// What makes two measurements additions to one table.
nlohmann::json table_header(Engine& engine, const Options& options,
                            const std::vector<std::int32_t>& text) {
  nlohmann::json header = result_header("sensitivity", engine);
  for (const char* changes :
       {"version", "virtual", "backend", "device", "threads_per_rank", "syncs"}) {
    header.erase(changes);
  }
  header["model"].erase("path");
  header["text"] = {{"file", std::filesystem::path(options.text).filename().string()},
                    {"tokens", text.size()},
                    {"hash", hash_ids(text)}};
  header["window_tokens"] = options.work.windows.window;
  header["stride_tokens"] = options.work.windows.stride;
  header["plan"] = engine.plan().to_json(engine.config());
  for (const char* no_matter : {"version", "levels", "wire"}) header["plan"].erase(no_matter);
  if (header["plan"].contains("repair")) header["plan"]["repair"].erase("file");
  // As it is read again: names that are no text are others then.
  return nlohmann::json::parse(json_text(header));
}

// The table to go on with: the file's where there is one of the same header, with what it lacks.
SensitivityTable open_table(const std::string& file, const nlohmann::json& header,
                            const std::vector<SensitivityEntry>& items) {
  SensitivityTable table;
  if (!file.empty() && std::filesystem::exists(file)) {
    table = SensitivityTable::load(file);
    std::vector<std::string> differ;
    for (const auto& [key, value] : header.items()) {
      if (!table.header.contains(key) || table.header[key] != value) differ.push_back(key);
    }
    if (!differ.empty()) {
      throw Error(ErrorCode::usage,
                  fmt::format("--json {}: holds sensitivities of another run (differs in {})", file,
                              fmt::join(differ, ", ")),
                  "name another file, or remove this one to begin anew");
    }
  }
  table.header = header;
  for (const SensitivityEntry& item : items) {
    if (std::none_of(table.entries.begin(), table.entries.end(),
                     [&](const auto& entry) { return entry.same_item(item); })) {
      table.entries.push_back(item);
    }
  }
  return table;
}

Plot plot_of(const SensitivityTable& table) {
  Plot plot{"Rise of NLL by sync point", "block", "nats a token", {}};
  for (const SensitivityEntry& entry : table.entries) {
    std::string label = fmt::format(
        "{} {}", name(entry.point),
        entry.level == SyncLevel::full ? name(entry.wire) : std::string_view(name(entry.level)));
    if (entry.form == SensitivityForm::backward) label += ", backward";
    auto series = std::find_if(plot.series.begin(), plot.series.end(),
                               [&](const PlotSeries& known) { return known.name == label; });
    if (series == plot.series.end()) {
      plot.series.push_back({label, {}, true, {}});
      series = plot.series.end() - 1;
    }
    series->points.emplace_back(static_cast<double>(entry.block), table.own_rise(entry).nats);
  }
  return plot;
}

void print_table(const SensitivityTable& table, std::int64_t blocks) {
  say("every sync full: NLL {:.5f} nats over {} windows\n\nrise of NLL in nats (± standard "
      "error) by block\n{:>5}",
      table.base_nll(), table.tokens.size(), "block");
  std::vector<const SensitivityEntry*> columns;  // the first entry of each column
  for (const SensitivityEntry& entry : table.entries) {
    if (std::any_of(columns.begin(), columns.end(), [&](const SensitivityEntry* known) {
          return known->form == entry.form && known->point == entry.point &&
                 known->level == entry.level && known->wire == entry.wire;
        })) {
      continue;
    }
    columns.push_back(&entry);
    say(" {:>22}", fmt::format("{} {} {}", name(entry.point),
                               entry.level == SyncLevel::full ? name(entry.wire)
                                                              : std::string_view(name(entry.level)),
                               entry.form == SensitivityForm::single ? "" : "bwd"));
  }
  say("\n");
  for (std::int64_t block = 0; block < blocks; ++block) {
    say("{:>5}", block);
    for (const SensitivityEntry* column : columns) {
      const SensitivityEntry* entry =
          table.find(column->form, column->point, block, column->level, column->wire);
      if (!entry || entry->windows.empty()) {
        say(" {:>22}", "-");
        continue;
      }
      const NllIncrease rise = table.own_rise(*entry);
      say(" {:>22}", with_error(rise.nats, rise.standard_error, 5, true));
    }
    say("\n");
  }
}

}  // namespace

void run_sensitivity(RankContext& context, const std::vector<std::string>& arguments) {
  Options options;
  options.parse(arguments);
  const std::string& file = options.common.json;
  check_apart(context, options.files);
  const OutputFile results = open_output(context, "--json", file);
  const OutputFile plot = open_output(context, "--plot", options.plot);
  const auto text = read_token_ids(context, options.common.engine.model, options.text);
  agree(context.comms, "reading the text",
        [&] { whole_windows(static_cast<std::int64_t>(text.size()), options.work.windows); });
  Engine engine(context, options.common.engine, options.work.windows.window);
  const std::int64_t blocks = engine.config().blocks;

  SensitivityTable table;
  agree(context.comms, "opening the sensitivities", [&] {
    const auto items = sensitivity_items(options.work, blocks, context.comms.topology);
    if (items.empty()) {
      throw Error(ErrorCode::usage, "nothing to measure on this allocation",
                  "give --levels drop, or --formats bf16,int8; node needs several nodes with "
                  "several ranks");
    }
    table =
        open_table(results.is_replaced() ? file : "", table_header(engine, options, text), items);
    table.check_blocks(blocks);
  });
  note_repairs(engine, table.entries);
  // What is written through cannot be taken back: it gets the whole, at the end.
  const bool saves = results && results.is_replaced();
  if (saves) write_json(context, results, table.to_json());

  auto saved = Clock::now();
  std::optional<Progress> bar;
  std::optional<Interruption> why;
  const auto after_item = [&](std::int64_t done, std::int64_t of) {
    if (!bar) bar.emplace("block passes", of, context.root());
    bar->update(done, fmt::format("NLL {:.4f} at full", table.base_nll()));
    // A second between writes is much less than a batch of windows takes.
    if (context.root() && saves && Clock::now() - saved > std::chrono::seconds(1)) {
      saved = Clock::now();
      try {
        results.write_json(table.to_json());
      } catch (const Error& error) {
        // The table is whole in memory, and the file as it was: the next time may go well.
        spdlog::warn("{}: going on, and trying again", error.what());
      }
    }
    why = find_interruption(context.comms, engine.stream());
    return !why;
  };
  agree(context.comms, "measuring sensitivities",
        [&] { measure_sensitivity(engine, text, options.work, table, after_item); });
  bar.reset();
  if (context.root() && !why) print_table(table, blocks);
  write_json(context, results, table.to_json());
  if (why) {
    if (!saves) stop(*why, "nothing was kept", "with --json FILE a run can be gone on with");
    stop(*why, fmt::format("kept: what was measured, in {}", file),
         "the same command goes on from there");
  }
  write_output(context, plot, to_svg(plot_of(table)),
               results ? fmt::format("the sensitivities, in {}", file) : "");
}

}  // namespace spd
