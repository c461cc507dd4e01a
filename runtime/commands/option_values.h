// Command lines and files of options to values, with the program's own messages.
//
// Boost.Program_options makes its messages by putting what the user wrote into templates, again and
// again where that holds "%original_token%": they are not used.
#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace spd {

/// Whether what is not among the options is an error or someone else's.
enum class OtherOptions : std::uint8_t { refused, left };

/// Stores what the arguments give. Throws usage Error naming the option, what was given and what it
/// takes; for unknown options the nearest one, and for options that are given "". Numbers are
/// finite, integers within 32 bits.
void store_arguments(const boost::program_options::options_description& options,
                     const std::vector<std::string>& arguments, OtherOptions others,
                     boost::program_options::variables_map& values);

/// Stores what a file of lines "name = value" gives for what `values` lack. Lines that begin with
/// "#" are comments. A pipe is read once in a process. Throws usage Error naming file and line,
/// also for "config" and "help".
void store_option_file(const boost::program_options::options_description& options,
                       const std::filesystem::path& file, OtherOptions others,
                       boost::program_options::variables_map& values);

/// Runs the options' notifiers and checks that what is required is there.
void notify_options(boost::program_options::variables_map& values);

}  // namespace spd
