// The scoping of names: which variable each means, worked out once, before a template runs, as
// Jinja's compiler does.
#pragma once

#include "model/tokenizer/jinja/syntax.h"

namespace spd::jinja {

/// Fills in the references and scopes of a program. Throws Failure with its place for names of
/// filters and tests that there are not, and for what Jinja's compiler refuses.
void scope(Program& program);

}  // namespace spd::jinja
