#include "model/tokenizer/pre_tokenizer.h"

#include <functional>
#include <utility>
#include <vector>

#include "kernels/device/utf8.h"
#include "model/tokenizer/byte_level.h"
#include "model/tokenizer/pattern.h"
#include "model/tokenizer/unicode.h"

namespace spd {
namespace {

using IsDelimiter = bool (*)(char32_t);

// Every code point for which `is_delimiter` holds is a match of its own.
void find_code_point_parts(std::string_view piece,
                           const std::function<bool(char32_t)>& is_delimiter,
                           std::vector<SplitMatch>& parts) {
  std::size_t done = 0;
  for (std::size_t at = 0; at < piece.size();) {
    const CodePoint c = code_point_at(piece, at);
    const std::size_t next = at + c.bytes;
    if (is_delimiter(c.value)) {
      if (done < at) parts.push_back({done, at, false});
      parts.push_back({at, next, true});
      done = next;
    }
    at = next;
  }
  if (done < piece.size()) parts.push_back({done, piece.size(), false});
}

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex)
      : add_prefix_space_(add_prefix_space), use_regex_(use_regex), words_(kWords) {}

  void apply(SplitText& text) const override {
    if (add_prefix_space_) {
      text.rewrite([](std::string_view piece, bool, std::string& out) {
        if (!piece.empty() && piece.front() != ' ') out += ' ';
        out += piece;
      });
    }
    if (use_regex_) {
      text.split(
          [this](std::string_view piece, std::vector<SplitMatch>& parts) {
            find_regex_parts(words_, piece, false, parts);
          },
          SplitBehavior::isolated);
    }
    text.rewrite(
        [](std::string_view piece, bool, std::string& out) { append_byte_level(out, piece); });
  }

 private:
  // GPT-2's words: English contractions, letters, digits and other signs, each with one space
  // before it, and runs of space that leave the last one to the word that follows.
  static constexpr const char* kWords =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  bool add_prefix_space_, use_regex_;
  Regex words_;
};

class CodePointSplit final : public PreTokenizer {
 public:
  CodePointSplit(IsDelimiter is_delimiter, SplitBehavior behavior)
      : is_delimiter_(is_delimiter), behavior_(behavior) {}
  void apply(SplitText& text) const override {
    text.split(
        [this](std::string_view piece, std::vector<SplitMatch>& parts) {
          find_code_point_parts(piece, is_delimiter_, parts);
        },
        behavior_);
  }

 private:
  IsDelimiter is_delimiter_;
  SplitBehavior behavior_;
};

class Metaspace final : public PreTokenizer {
 public:
  /// `doubles`: a mark is put before a text that begins with one.
  Metaspace(std::string mark, PrependScheme scheme, bool split, bool doubles = false)
      : mark_(std::move(mark)), scheme_(scheme), split_(split), doubles_(doubles) {}

  void apply(SplitText& text) const override {
    text.rewrite([this](std::string_view piece, bool at_start, std::string& out) {
      const bool prepend =
          scheme_ == PrependScheme::always || (scheme_ == PrependScheme::first && at_start);
      const bool marked = piece.substr(0, 1) == " " || piece.substr(0, mark_.size()) == mark_;
      if (prepend && !piece.empty() && (doubles_ || !marked)) out += mark_;
      for (const char c : piece) {
        if (c == ' ') {
          out += mark_;
        } else {
          out += c;
        }
      }
    });
    if (!split_) return;
    const char32_t mark = code_point_at(mark_, 0).value;
    text.split(
        [mark](std::string_view piece, std::vector<SplitMatch>& parts) {
          find_code_point_parts(
              piece, [mark](char32_t c) { return c == mark; }, parts);
        },
        SplitBehavior::merged_with_next);
  }

 private:
  std::string mark_;
  PrependScheme scheme_;
  bool split_, doubles_;
};

class Split final : public PreTokenizer {
 public:
  Split(Pattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void apply(SplitText& text) const override {
    text.split(
        [this](std::string_view piece, std::vector<SplitMatch>& parts) {
          pattern_.find_parts(piece, invert_, parts);
        },
        behavior_);
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Runs of word characters, and runs of what is neither word nor space.
class Whitespace final : public PreTokenizer {
 public:
  void apply(SplitText& text) const override {
    text.split(
        [](std::string_view piece, std::vector<SplitMatch>& parts) {
          for (std::size_t at = 0; at < piece.size();) {
            const CodePoint c = code_point_at(piece, at);
            const int kind = kind_of(c.value);
            std::size_t end = at + c.bytes;
            while (end < piece.size()) {
              const CodePoint next = code_point_at(piece, end);
              if (kind_of(next.value) != kind) break;
              end += next.bytes;
            }
            parts.push_back({at, end, kind == 0});
            at = end;
          }
        },
        SplitBehavior::removed);
  }

 private:
  static int kind_of(char32_t c) { return is_word(c) ? 1 : is_space(c) ? 0 : 2; }
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> parts)
      : parts_(std::move(parts)) {}
  void apply(SplitText& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

SplitBehavior parse_behavior(const JsonComponent& spec, const std::string& fallback) {
  const std::string name =
      fallback.empty() ? spec.string("behavior") : spec.string_or("behavior", fallback);
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  spec.fail("behavior \"" + name + "\" is not known");
}

std::unique_ptr<PreTokenizer> make_metaspace(const JsonComponent& spec) {
  std::string mark = spec.string("replacement");
  if (mark.empty() || code_point_at(mark, 0).bytes != mark.size()) {
    spec.fail("\"replacement\" should be one character");
  }
  return std::make_unique<Metaspace>(std::move(mark), parse_prepend_scheme(spec),
                                     spec.boolean_or("split", true));
}

}  // namespace

std::unique_ptr<PreTokenizer> make_llama_pre_tokenizer() {
  return std::make_unique<Metaspace>("\xE2\x96\x81", PrependScheme::first, false, true);
}

PrependScheme parse_prepend_scheme(const JsonComponent& spec) {
  if (!spec.has("prepend_scheme")) {
    return spec.boolean_or("add_prefix_space", true) ? PrependScheme::always : PrependScheme::never;
  }
  const std::string name = spec.string("prepend_scheme");
  if (name == "always") return PrependScheme::always;
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  spec.fail("prepend_scheme \"" + name + "\" is not known");
}

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonComponent& spec) {
  const std::string type = spec.type();
  if (type == "ByteLevel") {
    return std::make_unique<ByteLevel>(spec.boolean_or("add_prefix_space", true),
                                       spec.boolean_or("use_regex", true));
  }
  if (type == "Digits") {
    return std::make_unique<CodePointSplit>(is_numeric, spec.boolean_or("individual_digits", false)
                                                            ? SplitBehavior::isolated
                                                            : SplitBehavior::contiguous);
  }
  if (type == "Punctuation") {
    return std::make_unique<CodePointSplit>(is_punctuation, parse_behavior(spec, "Isolated"));
  }
  if (type == "WhitespaceSplit") {
    return std::make_unique<CodePointSplit>(is_space, SplitBehavior::removed);
  }
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "Metaspace") return make_metaspace(spec);
  if (type == "Split") {
    return std::make_unique<Split>(Pattern(spec), parse_behavior(spec, ""),
                                   spec.boolean_or("invert", false));
  }
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PreTokenizer>> parts;
    for (const JsonComponent& part : spec.objects("pretokenizers")) {
      parts.push_back(make_pre_tokenizer(part));
    }
    return std::make_unique<PreTokenizerSequence>(std::move(parts));
  }
  spec.not_supported("pre-tokenizer");
}

}  // namespace spd
