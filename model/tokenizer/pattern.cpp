#include "model/tokenizer/pattern.h"

#include <fmt/format.h>

#include "kernels/device/error.h"

namespace spd {

Pattern::Pattern(const JsonComponent& spec) : regex_(compile(spec)) {}

Regex Pattern::compile(const JsonComponent& spec) {
  const JsonComponent pattern = spec.object("pattern");
  const bool literal = pattern.has("String");
  const std::string text = pattern.string(literal ? "String" : "Regex");
  try {
    return Regex(literal ? Regex::escape(text) : text);
  } catch (const Error& error) {
    pattern.fail(error.message(),
                 "mend the pattern, or use a model whose tokenizer does without it");
  }
}

std::string Pattern::replaced(std::string_view text, std::string_view content,
                              std::size_t most) const {
  std::string out;
  out.reserve(text.size());
  std::size_t done = 0;
  regex_.for_each_match(text, [&](std::size_t begin, std::size_t end) {
    out.append(text.substr(done, begin - done)).append(content);
    done = end;
    refuse_growth(out.size(), most);
  });
  return out.append(text.substr(done));
}

void refuse_growth(std::size_t bytes, std::size_t most) {
  if (bytes <= most) return;
  throw Error(ErrorCode::input,
              fmt::format("the tokenizer's own steps made more than {} bytes of a text that is far "
                          "smaller",
                          most),
              "use a tokenizer whose normalizer and pre-tokenizer do not multiply the text");
}

void Pattern::find_parts(std::string_view piece, bool invert,
                         std::vector<SplitMatch>& parts) const {
  find_regex_parts(regex_, piece, invert, parts);
}

void find_regex_parts(const Regex& regex, std::string_view piece, bool invert,
                      std::vector<SplitMatch>& parts) {
  std::size_t done = 0;
  regex.for_each_match(piece, [&](std::size_t begin, std::size_t end) {
    if (done < begin) parts.push_back({done, begin, invert});
    parts.push_back({begin, end, !invert});
    done = end;
  });
  if (done < piece.size()) parts.push_back({done, piece.size(), invert});
}

}  // namespace spd
