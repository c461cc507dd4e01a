// The special names that a body speaks of, by Jinja's rules.
#pragma once

#include <set>
#include <string>

#include "model/tokenizer/jinja/syntax.h"

namespace spd::jinja {

/// Those of `names` that the statements read before they assign to them. "Before" is in the order
/// of the syntax, as Jinja looks for them.
std::set<std::string> undeclared(const Statements& body, std::set<std::string> names);

/// Whether the statement or one within it assigns to a variable `name`.
const Expression* assignment_to(const Statement& statement, const std::string& name);

}  // namespace spd::jinja
