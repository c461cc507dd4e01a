// The files that a command line names. None that is read may be written, nor one by two options.
#pragma once

#include <boost/program_options.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/job/launch.h"

namespace spd {

struct NamedFile {
  std::string flag;  ///< "--text"
  std::filesystem::path file;
};

struct NamedFiles {
  std::vector<NamedFile> inputs, outputs;
};

/// What the options of any command name, by what they are called everywhere: --json, --out, --items
/// and --plot are written, --text, --plan, --model and their like are read.
NamedFiles named_files(const boost::program_options::variables_map& values);

/// Whether --plan and --out may be one file, which a command then updates.
enum class PlanInPlace { no, yes };

/// On rank 0, whose files they are; all ranks call it alike, before anything is opened. Throws
/// AgreedError (usage) naming both options where an output is an input (a model's files and a
/// plan's repairs are, too), another output or what stdout goes to, by whatever names and links;
/// and where stdin is to be read twice. Devices may be named again and again.
void check_apart(const RankContext& context, const NamedFiles& files,
                 PlanInPlace in_place = PlanInPlace::no);

}  // namespace spd
