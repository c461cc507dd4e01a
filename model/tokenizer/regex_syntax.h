// Oniguruma's dialect of regular expressions, said in PCRE2's.
#pragma once

#include <string>

namespace spd {

/// What PCRE2 (with UTF, UCP and MULTILINE) matches as Oniguruma matches `pattern`, as the
/// tokenizers library compiles it (Oniguruma's own syntax, no options): \h is a hexadecimal digit,
/// (?m) lets the dot match line ends, classes nest and intersect, {n,m}+ is a repeated repetition,
/// options without a group end with the group around them. Groups become groups that capture
/// nothing. Throws input Error naming the pattern and the byte for what is not translated:
/// back-references, calls, conditions, callouts, absent operators, \K, \X, \y, options other than
/// i, m and x, repetition of repetition or of what is no text, properties that PCRE2 does not know
/// or means otherwise, and, where case is ignored, letters that fold into several (\u00df, "ss",
/// "ff",
/// ...) and classes of more than ASCII characters, which Oniguruma folds in its own way.
std::string translate_oniguruma(const std::string& pattern);

}  // namespace spd
