// Who gets what: a balanced assignment of items to ranks at least total cost.
#pragma once

#include <cstdint>
#include <vector>

namespace spd {

/// Moves items between ranks until no exchange along any cycle of ranks lowers the total cost,
/// which is then the least possible (a minimum-cost flow without negative cycles). Every rank keeps
/// as many items as it has in `owner`. `cost`: [ranks][items]; `owner`: [items], the rank that has
/// each item to begin with. Returns the new owners.
std::vector<int> assign_balanced(const std::vector<std::vector<double>>& cost,
                                 std::vector<int> owner);

}  // namespace spd
