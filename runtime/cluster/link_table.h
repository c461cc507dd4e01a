// What all-reduces take, as tables for people.
#pragma once

#include <cstddef>
#include <string>

#include "comm/link_model.h"

namespace spd {

/// "640 B", "1.38 KiB", "4 MiB"
std::string bytes_text(std::size_t bytes);

/// A table of a group's all-reduces as the runtime makes them: a line a size (256 B, 1 KiB, 4 KiB,
/// ...), p50 and p99 a wire format, "-" where a size was not measured. Curves are measured at sizes
/// of their own. Empty where the group has none.
std::string wires_table(const LinkModel& links, LinkGroup group);
/// The same of what else was tried: a column an algorithm.
std::string algorithms_table(const LinkModel& links, LinkGroup group);

}  // namespace spd
