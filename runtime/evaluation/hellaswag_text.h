// HellaSwag's texts as lm-evaluation-harness shows them to a model.
#pragma once

#include <string>

namespace spd {

/// The harness's cleaning of what WikiHow brought along: strips, " [title]" becomes ". ", every
/// "[...]" within a line goes, pairs of spaces become one. Takes time linear in the text.
std::string clean_hellaswag(const std::string& text);

/// The same for the compact form, which is mostly clean already: cleaning it twice would take more
/// spaces than the harness does, so only texts that still have a "[...]" are.
std::string clean_compact_hellaswag(const std::string& text);

/// The compact form has the last, unfinished sentence begin small; the original field is
/// capitalised.
std::string capitalize_fragment(const std::string& query);

}  // namespace spd
