// The patience of reads: how long files that are no regular ones may say nothing, for the whole
// process.
#pragma once

#include <chrono>

namespace spd {

/// read_file() waits no longer than this, whatever its limits say: a rank that waits longer than
/// the job's deadline would have its peers time out before it can say what it waits for.
void limit_read_patience(std::chrono::milliseconds most);

}  // namespace spd
