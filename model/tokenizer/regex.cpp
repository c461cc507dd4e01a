#include "model/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>

#include "kernels/device/error.h"
#include "kernels/device/printable.h"
#include "kernels/device/utf8.h"
#include "model/tokenizer/regex_syntax.h"

namespace spd {
namespace {

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Code {
  std::string pattern;
  pcre2_code* compiled = nullptr;

  Code() = default;
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() { pcre2_code_free(compiled); }
};

Regex::Regex(const std::string& pattern) : code_(std::make_unique<Code>()) {
  code_->pattern = pattern;
  const std::string translated = translate_oniguruma(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->compiled =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr);
  if (code_->compiled == nullptr) {
    throw Error(ErrorCode::input,
                fmt::format("regular expression /{}/: {} (at byte {} of /{}/)", printable(pattern),
                            message_of(error), offset, printable(translated)));
  }
  // A refusal is not an error: matching then interprets the pattern, with the same result.
  pcre2_jit_compile(code_->compiled, PCRE2_JIT_COMPLETE);
}

Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

std::string Regex::escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view(R"(\^$.|?*+()[]{}-#&~)").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

void Regex::for_each_match(std::string_view text,
                           const std::function<void(std::size_t, std::size_t)>& found) const {
  using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;
  const MatchData data(pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  if (!data) throw Error(ErrorCode::system, "out of memory for a regular expression's match");
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  bool matched_before = false;
  std::size_t last_end = 0;
  for (std::size_t start = 0; start <= text.size();) {
    // The text is known to be valid; checking it again at every match would cost its square.
    std::uint32_t options = PCRE2_NO_UTF_CHECK;
    int count =
        pcre2_match(code_->compiled, subject, text.size(), start, options, data.get(), nullptr);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
      options |= PCRE2_NO_JIT;
      count =
          pcre2_match(code_->compiled, subject, text.size(), start, options, data.get(), nullptr);
    }
    if (count == PCRE2_ERROR_NOMATCH) return;
    if (count < 0) {
      throw Error(ErrorCode::input,
                  fmt::format("regular expression /{}/ failed on a text of {} bytes: {}",
                              printable(code_->pattern), text.size(), message_of(count)),
                  "put line ends into the text, or use a model whose tokenizer has a simpler "
                  "pattern");
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    const std::size_t begin = ends[0];
    const std::size_t end = ends[1];
    if (begin < end || !matched_before || end != last_end) {
      found(begin, end);
      matched_before = true;
      last_end = end;
    }
    if (begin < end) {
      start = end;
    } else if (end < text.size()) {
      start = end + code_point_at(text, end).bytes;
    } else {
      return;
    }
  }
}

}  // namespace spd
